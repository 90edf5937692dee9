"""Where a fit runs: in this process, or on so many workers of a cluster, each with a GPU or without."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from components.engines.base import cluster
from components.engines.base.errors import UsageError
from components.engines.training.params import Training

log = logging.getLogger("genworks")

WHERE = "training.num_workers"


@dataclass(frozen=True)
class Placement:
    """`num_workers` Ray workers, with a GPU each or none."""

    num_workers: int
    use_gpu: bool

    @property
    def bundle(self) -> cluster.Bundle:
        """What Ray Train reserves for a worker."""
        return {"GPU": 1.0} if self.use_gpu else {"CPU": 1.0}


def stays_here(training: Training) -> bool:
    """Whether it runs in this process: 0 workers, or `auto` on a machine without GPU where no cluster is named."""
    import torch

    if training.num_workers == "auto" and not cluster.is_given() and torch.cuda.device_count() == 0:
        log.info("Training in this process on the CPU: this machine has no GPU, and no cluster is named (RAY_ADDRESS)")
        return True
    return training.num_workers == 0


def on_cluster(training: Training, ray: Any) -> Placement:
    """How many workers, and whether with GPUs, by what the cluster has; said in a line. Refuses what it can never hold."""
    gpus = int(cluster.most(ray, "GPU"))
    asked = training.num_workers
    if asked == "auto" and not gpus:
        raise UsageError(
            f"num_workers: auto asks for a worker per GPU, but {cluster.name()} has none",
            where=WHERE,
            do="say how many workers are to train on its CPUs (num_workers: N), or 0 for this process; of a cluster that "
            f"grows, say how far in {cluster.LIMITS} (GPU=8,CPU=64)",
        )
    placement = Placement(gpus if asked == "auto" else int(asked), gpus > 0)
    cluster.require(ray, placement.num_workers, placement.bundle, WHERE)
    log.info(
        "Training on %d workers with %s each, on %s (num_workers: %s; GPUs there: %d)",
        placement.num_workers,
        cluster.words(placement.bundle),
        cluster.name(),
        asked,
        gpus,
    )
    return placement
