"""Compare the stored scores of two model versions, metric by metric and slice by slice.

`python -m components.engines.scoring.compare --candidate DIR --champion DIR` prints JSON. Each folder holds `scores.json`
(which metrics, how they add up, a digest of the examples) and `scores.jsonl` (one line per example). The promotion gate
runs it as a command, since flows import no scoring.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, TypedDict

from components.engines.base.errors import GenworksError, UsageError
from components.engines.base.paths import read_json, read_jsonl
from components.engines.base.seeds import derive
from components.engines.scoring.bootstrap import paired_bootstrap, slice_intervals
from components.engines.scoring.evidence import gain_above

MIN_SLICE = 20  # below this an interval says more about the handful of examples than about the systems


def compare(
    candidate: Path,
    champion: Path,
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    min_slice: int = MIN_SLICE,
    metric: str | None = None,
    bound: float = 0.0,
    level: float = 0.05,
) -> dict[str, Any]:
    """Intervals of candidate − champion for every metric both have: `{examples, metrics, slices, small_slices}`.

    With a `metric` there is `evidence` too: whether its true gain is above `bound`, at `level` (see evidence.py).

    `slices` is `{metric: {"length=1-5": interval}}`, corrected for their number over all slices of that metric; slices
    with fewer than `min_slice` examples are only counted, in `small_slices`. Raises UsageError unless both were scored on
    the same examples.
    """
    ours, theirs = _read(candidate), _read(champion)
    if ours.settings["examples"] != theirs.settings["examples"] or ours.rows.keys() != theirs.rows.keys():
        raise _other_examples(ours, theirs)
    ids = list(ours.rows)
    members, small = _slices(ours, ids, min_slice)
    shared = [name for name in ours.settings["metrics"] if name in theirs.settings["metrics"]]
    if not shared:
        raise UsageError("Candidate and champion share no metric", where=f"{ours.folder}, {theirs.folder}")
    metrics: dict[str, Any] = {}
    slices: dict[str, Any] = {}
    for name in shared:
        how = ours.settings["metrics"][name]
        if how != theirs.settings["metrics"][name]:
            raise UsageError(f"Metric '{name}' means two things: {how} and {theirs.settings['metrics'][name]}")
        mine, other = ([scores.value(key, name) for key in ids] for scores in (ours, theirs))
        rule = str(how["aggregate"]), bool(how["higher_is_better"])
        draw: _Draw = {"resamples": resamples, "confidence": confidence, "seed": derive(seed, "bootstrap", name)}
        metrics[name] = paired_bootstrap(mine, other, *rule, **draw).as_dict()
        by_slice = slice_intervals(mine, other, members, *rule, **draw)
        slices[name] = {label: interval.as_dict() for label, interval in by_slice.items()}
    found = {"examples": len(ids), "metrics": metrics, "slices": slices, "small_slices": small}
    if metric in metrics:
        mine, other = ([scores.value(key, metric) for key in ids] for scores in (ours, theirs))
        how = ours.settings["metrics"][metric]
        rule = str(how["aggregate"]), bool(how["higher_is_better"])
        found["evidence"] = gain_above(mine, other, *rule, bound=bound, level=level).as_dict()
    return found


class _Draw(TypedDict):
    resamples: int
    confidence: float
    seed: int


class _Scores:
    """One folder's scores: `settings` of scores.json and the lines of scores.jsonl by id."""

    def __init__(self, folder: Path, settings: dict[str, Any], rows: dict[str, dict[str, Any]]) -> None:
        self.folder, self.settings, self.rows = folder, settings, rows

    def value(self, key: str, metric: str) -> Any:
        try:
            return self.rows[key]["metrics"][metric]
        except KeyError:
            raise UsageError(f"Example '{key}' has no score '{metric}'", where=str(self.folder)) from None


def _read(folder: Path) -> _Scores:
    try:
        settings = read_json(folder / "scores.json")
        lines = read_jsonl(folder / "scores.jsonl")
        rows = {line["id"]: line for line in lines}
        for how in settings["metrics"].values():
            _ = how["aggregate"], how["higher_is_better"]
        _ = settings["examples"]
    except FileNotFoundError as error:
        raise UsageError("Scores are missing", where=str(error.filename), do="run the evaluate stage") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"Scores cannot be read ({type(error).__name__}: {error})", where=str(folder)) from None
    if len(rows) != len(lines):
        raise UsageError(f"{len(lines) - len(rows)} example ids appear twice", where=str(folder / "scores.jsonl"))
    return _Scores(folder, settings, rows)


def _other_examples(ours: _Scores, theirs: _Scores) -> UsageError:
    odd = sorted(ours.rows.keys() ^ theirs.rows.keys())
    detail = f"{len(odd)} ids are in one only, such as '{odd[0]}'" if odd else "the ids agree but the inputs do not"
    return UsageError(
        f"Candidate and champion were scored on different examples: {detail}",
        where=f"{ours.folder}, {theirs.folder}",
        do="score both on the same test set",
    )


def _slices(scores: _Scores, ids: list[str], min_slice: int) -> tuple[dict[str, list[int]], dict[str, int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for position, key in enumerate(ids):
        for name, value in (scores.rows[key].get("slices") or {}).items():
            found[f"{name}={value}"].append(position)
    large = {label: found[label] for label in sorted(found) if len(found[label]) >= min_slice}
    return large, {label: len(found[label]) for label in sorted(found) if len(found[label]) < min_slice}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--candidate", type=Path, required=True, help="folder with scores.json and scores.jsonl")
    parser.add_argument("--champion", type=Path, required=True)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--min-slice", type=int, default=MIN_SLICE, help="examples a slice needs to be judged")
    parser.add_argument("--metric", help="test whether its gain is above --bound, at --level")
    parser.add_argument("--bound", type=float, default=0.0)
    parser.add_argument("--level", type=float, default=0.05)
    options = vars(parser.parse_args())
    try:
        print(json.dumps(compare(options.pop("candidate"), options.pop("champion"), **options), allow_nan=False))
    except GenworksError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
