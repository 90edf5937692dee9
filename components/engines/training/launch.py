"""Starts a fit through Ray Train: in this process, or on workers of a cluster (placement.py).

The only importer of ray.train. Results and failures come back through files in the work folder, so that what a user
sees is the same whether the loop ran here, in a worker of this machine, or on a cluster.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed as dist

from components.engines.base import cluster
from components.engines.base.errors import StageError, Stopped
from components.engines.base.paths import remove
from components.engines.base.probe import Probed, probe_file
from components.engines.training.checkpoints.final import Fit
from components.engines.training.checkpoints.saved_run import finished_fit
from components.engines.training.faults.failures import (
    any_failure,
    failure_of,
    forget_failure,
    forget_failures,
    is_final,
    write_failure,
)
from components.engines.training.faults.stopping import call_forwarding, forget_requests
from components.engines.training.loop import fit
from components.engines.training.observe.forecast import ForecastObserver, shortened
from components.engines.training.observe.relay import relayed, write_log_to
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training, micro_batch_size
from components.engines.training.placement import WHERE, on_cluster, stays_here
from components.engines.training.run import Observer
from components.engines.training.task import Task

log = logging.getLogger("genworks")

WORKER_LOG = "worker.log"

MakeTask = Callable[[], Task]
MakeObserver = Callable[[], Observer]


def launch(make_task: MakeTask, training: Training, *, work: Path, observer_factory: MakeObserver | None = None) -> Fit:
    """Run `fit` on `training.num_workers` workers and return its result.

    `make_task` and `observer_factory` travel to the workers: functools.partial of module-level functions, with
    picklable arguments. A worker's GenworksError is raised here as it was there. Where the stage is only probed (base/probe.py),
    a few steps are run, and Probed is raised.
    """
    figures = probe_file()
    if figures is None:
        return _launch(make_task, training, work, observer_factory)
    _launch(make_task, shortened(training), work, partial(ForecastObserver, training, figures.resolve()))
    raise Probed


def _launch(make_task: MakeTask, training: Training, work: Path, observer_factory: MakeObserver | None) -> Fit:
    done = finished_fit(work, training)
    if done is not None:
        return done
    _quiet()
    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if isinstance(training.num_workers, int):
        micro_batch_size(training, max(1, training.num_workers))
    forget_failures(work)
    forget_requests(work)
    loop_config = {
        "make_task": make_task,
        "training": training,
        "work": str(work),
        "observer_factory": observer_factory,
    }
    if stays_here(training):
        _fit_here(loop_config, work)
    else:
        with cluster.joined(cpus=training.num_workers if isinstance(training.num_workers, int) else 0) as ray:
            _fit_on_cluster(ray, loop_config, training, work)
    done = finished_fit(work, training)
    if done is None:
        raise StageError(
            "The workers are done but left no finished fit",
            where=str(work),
            do="put the work folder on a file system that all workers share",
        )
    return done


def _quiet() -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_TRAIN_METRICS_ENABLED", "0")
    if not cluster.is_given():  # one machine of our own is not preempted: a process less to start
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    logging.getLogger("ray.train.v2.api.config").setLevel(logging.WARNING)  # says that no workers were asked for


def _fit_here(loop_config: dict[str, Any], work: Path) -> None:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    TorchTrainer(
        _fit_and_close,
        train_loop_config=loop_config,
        scaling_config=ScalingConfig(num_workers=0),  # Ray Train's mode without Ray
        run_config=RunConfig(name="ray", storage_path=str(work)),
    ).fit()


def _work_in_worker(config: dict[str, Any]) -> None:
    """The fit of one Ray worker: a failure is also written down, for the driver to tell the user.

    A worker that stopped as it was told to ends well, and so does one that would only fail as the one before it did: Ray
    starts what failed again, `max_failures` times.
    """
    work = Path(config["work"])
    ranks = Ranks.from_process_group()
    over = ranks.broadcast(is_final(work))  # before anybody's file goes
    if over:
        return
    forget_failure(work, ranks.rank)
    if ranks.is_first:
        write_log_to(work / WORKER_LOG)
    try:
        _fit_and_close(config)
    except Stopped as stopped:
        write_failure(work, ranks.rank, stopped)
    except Exception as error:
        write_failure(work, ranks.rank, error, alone=ranks.world > 1 and not dist.is_initialized())
        raise


def _fit_and_close(config: dict[str, Any]) -> None:
    ranks = Ranks.from_process_group()
    factory = config["observer_factory"]
    observer = factory() if factory is not None and ranks.is_first else None
    try:
        fit(config["make_task"], config["training"], work=Path(config["work"]), ranks=ranks, observer=observer)
    finally:
        if observer is not None:
            observer.close()


# ------------------------------------------------------------------------------------------------------- cluster


def _fit_on_cluster(ray: Any, loop_config: dict[str, Any], training: Training, work: Path) -> None:
    from ray.train import ControllerError, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    placement = on_cluster(training, ray)
    micro_batch_size(training, placement.num_workers)
    limit = training.resources_timeout_s
    cluster.wait_for(ray, placement.num_workers, placement.bundle, limit, WHERE)
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(limit)  # the same for workers that start again
    tries = FailureConfig(max_failures=training.max_failures, controller_failure_limit=training.max_failures)
    trainer = TorchTrainer(
        _work_in_worker,
        train_loop_config=loop_config,
        scaling_config=ScalingConfig(num_workers=placement.num_workers, use_gpu=placement.use_gpu),
        run_config=RunConfig(name="ray", storage_path=str(work), failure_config=tries),
    )
    with relayed(work / WORKER_LOG):
        try:
            call_forwarding(trainer.fit, work)
        except ControllerError as error:
            if any_failure(work):
                raise failure_of(work) from error
            raise StageError(
                f"Ray could not start the workers anew: {' '.join(str(error).split())[:300]}",
                where=str(work),
                do="look whether the cluster still has room, and run again: it resumes from the last checkpoint",
            ) from error
        except TrainingFailedError as error:
            raise failure_of(work) from error
        finally:
            remove(work / "ray")
    if any_failure(work):
        raise failure_of(work)
