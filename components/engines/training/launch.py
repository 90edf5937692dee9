"""Starts a fit through Ray Train: in this process where there is no accelerator, else one worker per GPU.

The only importer of ray.train. Results and failures come back through files in the work folder, so that what a user
sees is the same whether the loop ran here, in a worker of this machine, or on a cluster.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from components.engines.base import errors
from components.engines.base.errors import GenworksError, StageError, Stopped
from components.engines.base.paths import read_json, remove, write_json
from components.engines.base.probe import Probed, probe_file
from components.engines.training.final import Fit
from components.engines.training.loop import fit
from components.engines.training.params import Training, micro_batch_size
from components.engines.training.probe import Probe, shortened
from components.engines.training.ranks import Ranks
from components.engines.training.relay import relayed, write_log_to
from components.engines.training.run import Observer
from components.engines.training.saving import finished_fit
from components.engines.training.stopping import call_forwarding, forget_requests
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
    _launch(make_task, shortened(training), work, partial(Probe, training, figures.resolve()))
    raise Probed


def _launch(make_task: MakeTask, training: Training, work: Path, observer_factory: MakeObserver | None) -> Fit:
    done = finished_fit(work, training)
    if done is not None:
        return done
    _quiet()
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    num_workers, use_gpu = resolve_workers(training)
    micro_batch_size(training, max(1, num_workers))
    _forget_failures(work)
    forget_requests(work)
    trainer = TorchTrainer(
        _work_here if num_workers == 0 else _work_in_worker,
        train_loop_config={
            "make_task": make_task,
            "training": training,
            "work": str(work),
            "observer_factory": observer_factory,
        },
        scaling_config=ScalingConfig(num_workers=num_workers, use_gpu=use_gpu),
        run_config=RunConfig(
            name="ray", storage_path=str(work), failure_config=FailureConfig(max_failures=training.max_failures)
        ),
    )
    if num_workers == 0:
        trainer.fit()
    else:
        _fit_on_cluster(trainer, work)
    done = finished_fit(work, training)
    if done is None:
        raise StageError(
            "The workers are done but left no finished fit",
            where=str(work),
            do="put the work folder on a file system that all workers share",
        )
    return done


def resolve_workers(training: Training) -> tuple[int, bool]:
    """How many Ray workers, and whether each gets a GPU. 0 workers is Ray Train's in-process mode."""
    import torch

    gpus = torch.cuda.device_count()
    if training.num_workers == "auto":
        return gpus, gpus > 0
    return training.num_workers, 0 < training.num_workers <= gpus


def _quiet() -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_TRAIN_METRICS_ENABLED", "0")
    if "RAY_ADDRESS" not in os.environ:  # one machine of our own is not preempted: a process less to start
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    logging.getLogger("ray.train.v2.api.config").setLevel(logging.WARNING)  # says that no workers were asked for


def _work_here(config: dict[str, Any]) -> None:
    _fit_and_close(config)


def _work_in_worker(config: dict[str, Any]) -> None:
    """The fit of one Ray worker: a failure is also written down, for the driver to tell the user.

    A worker that stopped as it was told to ends well: Ray would start one that failed again, `max_failures` times.
    """
    work = Path(config["work"])
    ranks = Ranks.from_process_group()
    remove(_failure_file(work, ranks))  # what an attempt before this one died of is not what this one does
    if ranks.is_first:
        write_log_to(work / WORKER_LOG)
    try:
        _fit_and_close(config)
    except Stopped as stopped:
        _write_failure(work, stopped)
    except Exception as error:
        _write_failure(work, error)
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


def _fit_on_cluster(trainer: Any, work: Path) -> None:
    from ray.train import TrainingFailedError

    with _cluster(), relayed(work / WORKER_LOG):
        try:
            call_forwarding(trainer.fit, work)
        except TrainingFailedError as error:
            raise _failure_of(work) from error
        finally:
            remove(work / "ray")
    if _failures(work):
        raise _failure_of(work)


@contextmanager
def _cluster() -> Iterator[None]:
    """The cluster at RAY_ADDRESS, or one of this machine's that lives as long as the fit; one already joined stays."""
    import ray

    if ray.is_initialized():
        yield
        return
    ray.init(
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        # Workers import what this process can import (the repository, a test's folder).
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}},
    )
    try:
        yield
    finally:
        ray.shutdown()


# ------------------------------------------------------------------------------------------------------- failures


def _failure_file(work: Path, ranks: Ranks) -> Path:
    return work / f"failure-{ranks.rank}.json"


def _failures(work: Path) -> list[Path]:
    return sorted(work.glob("failure-*.json"), key=lambda path: path.stat().st_mtime_ns)


def _forget_failures(work: Path) -> None:
    for path in _failures(work):
        remove(path)


def _write_failure(work: Path, error: Exception) -> None:
    ranks = Ranks.from_process_group()
    words = {"kind": "", "what": f"A training worker failed: {type(error).__name__}: {error}", "where": "", "do": ""}
    if isinstance(error, GenworksError):
        words = {"kind": type(error).__name__, "what": error.what, "where": error.where, "do": error.do}
    write_json(_failure_file(work, ranks), {**words, "traceback": traceback.format_exc()})


def _failure_of(work: Path) -> GenworksError:
    """The first failure that a worker wrote down; one of ours before others, which often only follow from it."""
    failures = [read_json(path) for path in _failures(work)]
    failures.sort(key=lambda failure: not failure["kind"])
    if not failures:
        return StageError(
            "A training worker died without a word (killed, or out of memory)",
            where=str(work),
            do="run again: it resumes from the last checkpoint; if it dies again, lower batch_size or the model's size",
        )
    failure = failures[0]
    log.debug("Worker's traceback:\n%s", failure["traceback"])
    kind = getattr(errors, failure["kind"], StageError)
    return kind(failure["what"], where=failure["where"], do=failure["do"])
