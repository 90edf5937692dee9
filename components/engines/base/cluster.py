"""The Ray cluster that work is placed on: joined, counted, asked whether it can ever hold what is wanted, waited for.

What counts is the cluster, never the process that asks: a head without GPU commands nodes that have some. A bundle is what one
worker holds, such as `{"CPU": 1, "GPU": 0.5}`. Ray is imported in here only where work is placed on it.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from components.engines.base.errors import StageError, UsageError

log = logging.getLogger("genworks")

Bundle = dict[str, float]

# What an autoscaler may add in all, such as `GPU=8,CPU=64`: Ray itself knows the nodes that are there and no others.
LIMITS = "GENWORKS_CLUSTER_LIMITS"
RESOURCES_TIMEOUT_S = 900.0  # nodes of a cloud take minutes to come
SECONDS_BETWEEN_WORDS = 30.0


def is_given() -> bool:
    """Whether there is a cluster to ask: the one at RAY_ADDRESS, or one that this process has joined."""
    ray = sys.modules.get("ray")
    return bool(os.environ.get("RAY_ADDRESS")) or (ray is not None and ray.is_initialized())


@contextmanager
def joined(cpus: float = 0) -> Iterator[Any]:
    """Ray as it already runs in this process, else the cluster at RAY_ADDRESS, else one of this machine for the block.

    The machine's own has `cpus`, if it has fewer cores: more workers than cores are the user's choice.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield ray
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    # Workers import what this process can import (the repository, a test's folder).
    options |= {"runtime_env": {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}}
    if address == "local":
        options |= {"num_cpus": max(os.cpu_count() or 1, math.ceil(cpus)), "include_dashboard": False}
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, OSError) as error:
        raise StageError(
            f"Ray does not start: {error}", where=f"RAY_ADDRESS {address}", do="check RAY_ADDRESS, or use no workers"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def name() -> str:
    address = os.environ.get("RAY_ADDRESS")
    return f"the cluster at {address}" if address else "this machine's Ray cluster"


def most(ray: Any, resource: str) -> float:
    """How much of it the cluster has, or may come to have."""
    return max(ray.cluster_resources().get(resource, 0), _limits().get(resource, 0))


def require(ray: Any, count: int, bundle: Bundle, where: str) -> None:
    """Refuse what the cluster can never hold, with the numbers."""
    fits = _room(ray, bundle)
    if count <= fits:
        return
    limits = _limits()
    grown = f", and may grow to {words(limits)}" if limits else ""
    raise UsageError(
        f"{count} workers with {words(bundle)} each do not fit {name()}: it holds {fits} of them at most. It has "
        f"{words(_plain(ray.cluster_resources()))} on {len(_nodes(ray))} nodes{grown}",
        where=where,
        do=f"ask for fewer workers or less for each; of a cluster that grows, say how far in {LIMITS} (GPU=8,CPU=64)",
    )


def wait_for(ray: Any, count: int, bundle: Bundle, seconds: float, where: str) -> None:
    """Return once the cluster has room for all of them at the same time. Raises StageError after `seconds`."""
    group = ray.util.placement_group([bundle] * count, strategy="PACK")
    waiting = Waiting(ray, f"{count} × {words(bundle)}", seconds, where)
    try:
        while not group.wait(waiting.pause):
            waiting.go_on()
    finally:
        ray.util.remove_placement_group(group)


class Waiting:
    """Says every now and then what is waited for, and ends the waiting when it has taken `seconds`."""

    def __init__(self, ray: Any, wanted: str, seconds: float, where: str) -> None:
        self.ray, self.wanted, self.seconds, self.where = ray, wanted, seconds, where
        self.since = time.monotonic()

    @property
    def pause(self) -> int:
        """Whole seconds until the next word: Ray waits for no parts of one."""
        left = self.seconds - (time.monotonic() - self.since)
        return math.ceil(max(1, min(SECONDS_BETWEEN_WORDS, left)))

    def go_on(self) -> None:
        waited = time.monotonic() - self.since
        free = words(_plain(self.ray.available_resources())) or "nothing"
        if waited < self.seconds:
            log.info(
                "Waiting for %s on %s: free now: %s (%.0f s of %g s)", self.wanted, name(), free, waited, self.seconds
            )
            return
        raise StageError(
            f"No room for {self.wanted} on {name()} within {self.seconds:g} s (resources_timeout_s); free now: {free}",
            where=self.where,
            do="wait until others are done, ask for fewer workers, or wait longer; what is finished is kept",
        )


def share_of_gpus(ray: Any, workers: int) -> float:
    """How much of a GPU each of the workers gets where all share what there is: 1 at most, 0 without any."""
    gpus = int(most(ray, "GPU"))
    return math.floor(10_000 / math.ceil(workers / gpus)) / 10_000 if gpus else 0.0


def _nodes(ray: Any) -> list[Bundle]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _room(ray: Any, bundle: Bundle) -> int:
    """How many of the bundles fit, each on one node; where the cluster may grow, on all that it may become."""
    there = sum(_times(node, bundle) for node in _nodes(ray))
    return max(there, _times(_limits(), bundle))


def _times(has: Bundle, bundle: Bundle) -> int:
    fits = [int(has.get(resource, 0) / amount + 1e-9) for resource, amount in bundle.items() if amount]
    return min(fits, default=sys.maxsize)


def _limits() -> Bundle:
    text = os.environ.get(LIMITS, "")
    try:
        pairs = [part.split("=") for part in text.split(",") if part.strip()]
        return {resource.strip(): float(amount) for resource, amount in pairs}
    except ValueError:
        raise UsageError(f"'{text}' are no limits of a cluster", where=LIMITS, do="write GPU=8,CPU=64") from None


def _plain(resources: Bundle) -> Bundle:
    """Without what Ray counts for itself: memory, nodes, types of accelerators, placement groups."""
    kept = {key: value for key, value in resources.items() if ":" not in key and "_group_" not in key}
    return {key: value for key, value in kept.items() if key not in {"memory", "object_store_memory"}}


def words(bundle: Bundle) -> str:
    """`1 CPU, 0.5 GPU`."""
    return ", ".join(f"{amount:g} {resource}" for resource, amount in sorted(bundle.items()) if amount)
