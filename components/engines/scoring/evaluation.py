"""What every evaluation leaves behind: figures, scores of single examples for the gate, and examples to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.engines.base.paths import digest_value, write_json, write_jsonl

if TYPE_CHECKING:
    from components.engines.tracking.runs import Run

GALLERY = "gallery"  # as dvc.yaml calls the folder of pictures: while a stage runs its outputs have other names


def write_evaluation(
    run: Run,
    figures: Mapping[str, Any],
    rows: Sequence[dict[str, Any]],
    examples: Iterable[Any],
    *,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    aggregates: Mapping[str, str] | None = None,
) -> None:
    """Write `metrics` (JSON, also to the run), one row an example (`scores_jsonl`), and how the rows add up (`scores_json`).

    A row has `id`, `slices` and `metrics`. `examples` is all that was asked, as JSON: its digest tells whether the scores of two
    models are of the same test. `aggregates` names metrics that are no means over examples.
    """
    how = aggregates or {}
    described = {name: {"aggregate": how.get(name, "mean"), "higher_is_better": True} for name in rows[0]["metrics"]}
    write_json(metrics, figures)
    write_json(scores_json, {"examples": digest_value(list(examples)), "metrics": described})
    write_jsonl(scores_jsonl, rows)
    run.log_metrics({name: value for name, value in figures.items() if isinstance(value, int | float)})


def shown_samples(
    order: Sequence[int],
    count: int,
    sample: Callable[[int], dict[str, Any]],
    is_bad: Callable[[int], bool] = lambda number: True,
) -> list[dict[str, Any]]:
    """About `count` rows by `sample`, a third each: the worst that are bad, the best, and evenly drawn ones; `kind` says which.

    `order` holds the numbers of all examples, the worst first.
    """
    each = max(count // 3, 1)
    step = max(len(order) // each, 1)
    bad = [number for number in order[:each] if is_bad(number)]
    kinds = {"bad": bad, "good": order[::-1][:each], "random": list(range(0, len(order), step))[:each]}
    return [{"kind": kind, **sample(number)} for kind, chosen in kinds.items() for number in chosen]
