"""How long stages took when they last ran, as their runs tell: DVC outputs hold no times."""

from __future__ import annotations

from pathlib import Path

from components.engines.tracking.store import opened, store_of


def last_durations(root: Path, system: str) -> dict[str, float]:
    """Seconds of the newest finished run of each stage (without its system). Empty where nothing was ever tracked."""
    store = store_of(root)
    if store.tracking.startswith("sqlite:///") and not Path(store.tracking.removeprefix("sqlite:///")).exists():
        return {}  # opening it would create it
    found: dict[str, float] = {}
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
            found.setdefault(stage, (run.info.end_time - run.info.start_time) / 1000)
    return found
