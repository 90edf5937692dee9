"""How long stages took when they last ran, as their runs tell: DVC outputs hold no times."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from components.engines.tracking.addresses import exists
from components.engines.tracking.store import opened, store_of


class LastRun(NamedTuple):
    """How long a stage took, and when it ended (seconds since 1970)."""

    seconds: float
    ended: float


def last_durations(root: Path, system: str) -> dict[str, float]:
    """Seconds of the newest finished run of each stage (without its system). Empty where nothing was ever tracked."""
    return {stage: run.seconds for stage, run in last_runs(root, system).items()}


def last_runs(root: Path, system: str) -> dict[str, LastRun]:
    """The newest finished run of each stage (without its system). Empty where nothing was ever tracked."""
    store = store_of(root)
    if not exists(store.tracking):
        return {}
    found: dict[str, LastRun] = {}
    with opened(store) as client:
        experiment = client.get_experiment_by_name(system)
        if experiment is None:
            return {}
        newest_first = client.search_runs(
            [experiment.experiment_id],
            filter_string="attributes.status = 'FINISHED'",
            order_by=["attribute.start_time DESC"],
            max_results=1000,
        )
    for run in newest_first:
        stage = run.data.tags.get("genworks.stage")
        if stage is not None:
            seconds = (run.info.end_time - run.info.start_time) / 1000
            found.setdefault(stage, LastRun(seconds, run.info.end_time / 1000))
    return found
