"""The relevance filter: CLIP scores every pair; those below the threshold are marked, and nothing is lost."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from components.engines.base.params import OPERATIONAL, GpusPerWorker, MaxBadFraction, Params, Positive, Workers
from components.engines.base.paths import write_json
from components.engines.base.stage import StageContext

CURATED_SPLITS = ("train", "valid")  # what is for testing is judged by its captions as they are


class RelevanceFilter(Params):
    """Pairs whose cosine by CLIP lies below `threshold` are marked as irrelevant (`genworks whatif` shows other thresholds).

    `batch_size` pairs are embedded at once: with a small model many, so that its calls do not wait for the thread that decodes.
    `cross_fit`: pairs whose picture CLIP was trained on are scored by models trained without it, this many of them; `auto`
    trains two where that are more than a tenth of all pairs. `num_threads` of torch, for that training.
    """

    threshold: Annotated[float, Field(ge=-1, le=1)]
    batch_size: Positive = 128
    cross_fit: Literal["auto", "off"] | Annotated[int, Field(ge=2)] = "auto"
    num_threads: Annotated[Positive | None, OPERATIONAL] = 1
    workers: Workers = 0
    gpus_per_worker: GpusPerWorker = "auto"
    max_bad_fraction: MaxBadFraction = 0.01


def filter_images(
    params: RelevanceFilter,
    context: StageContext,
    *,
    cleaned: Path,
    checked: Path,
    model: Path,
    recipe: Path,
    learnt: Path,
    scored: Path,
    scorers: Path,
    filtering: Path,
    filter_scores: Path,
    filter_charts: Path,
) -> None:
    """Score every pair of `cleaned` by the CLIP `model`, through the shard map; pairs that it has learnt (those of `learnt`) by
    the models of `scorers`.

    `scored` holds all pairs with their score and mark; `filter_scores` (CSV) the scores alone; `filtering` the figures: how
    many are marked and, where the source tells the truth about its captions, how well the marks find the wrong ones.
    """
    from components.engines.captioned.folds import cross_fit, read_learnt
    from components.engines.captioned.relevance import Relevance
    from components.engines.checks.stage import require_passed
    from components.engines.shards.map_shards import map_shards

    require_passed(checked)
    cross_fit(
        cleaned,
        model,
        recipe,
        learnt,
        folds=params.cross_fit,
        num_threads=params.num_threads,
        work=context.work / "folds",
        scorers=scorers,
    )
    map_shards(
        partial(Relevance, model, params.threshold, params.batch_size, scorers),
        cleaned,
        scored,
        work=context.work / "map",
        workers=params.workers,
        resources={"CPU": 1, "GPU": params.gpus_per_worker},
        max_bad_fraction=params.max_bad_fraction,
    )
    rows = _rows(scored)
    write_scores(filter_scores, rows)
    write_json(filtering, figures(rows, params.threshold) | read_learnt(scorers).figures())
    write_json(filter_charts, _charts(rows))


def _rows(scored: Path) -> list[dict[str, Any]]:
    """What `genworks whatif` needs to know of each pair: key, split, score, and 1 or 0 for a wrong or right caption."""
    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.captioned.marks import RELEVANCE, is_wrong

    return [
        {"key": one.key, "split": split, "score": one.metadata[RELEVANCE], "wrong": is_wrong(one)}
        for split in CURATED_SPLITS
        for one in CaptionedImages(scored, split)
    ]


def write_scores(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["key", "split", "score", "wrong"])
        for row in rows:
            wrong = "" if row["wrong"] is None else int(row["wrong"])
            writer.writerow([row["key"], row["split"], f"{row['score']:.6f}", wrong])


def figures(rows: list[dict[str, Any]], threshold: float) -> dict[str, Any]:
    """`precision`: of the marked pairs, the share with a wrong caption; `recall`: of the wrong ones, the share marked.

    What would be a share of nothing is left out.
    """
    from components.engines.scoring.ranking import roc_auc

    scores = np.array([row["score"] for row in rows])
    marked = scores < threshold
    found: dict[str, Any] = {
        "threshold": threshold,
        "pairs": len(rows),
        "marked": int(marked.sum()),
        "yield": float(1 - marked.mean()),
        "score_quantiles": {f"{q:.2f}": float(np.quantile(scores, q)) for q in (0.01, 0.1, 0.25, 0.5, 0.75, 0.9)},
    }
    wrong = _truth(rows)
    if wrong is not None:
        caught = int((marked & wrong).sum())
        found |= {
            "auc": roc_auc(scores[~wrong], scores[wrong]),
            "recall": caught / int(wrong.sum()),
            "wrong_before": float(wrong.mean()),
            "precision_of_chance": float(wrong.mean()),
        }
        if marked.any():
            found["precision"] = caught / int(marked.sum())
        if not marked.all():
            found["wrong_among_relevant"] = float(wrong[~marked].mean())
    return found


def _truth(rows: list[dict[str, Any]]) -> np.ndarray | None:
    """Which captions are wrong, bool [rows]; None where that is not known of all of them, or there is only one kind."""
    wrong = np.array([bool(row["wrong"]) for row in rows])
    known = all(row["wrong"] is not None for row in rows)
    return wrong if known and wrong.any() and not wrong.all() else None


def _charts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Yield by threshold and, where the truth is known, recall over false alarms (ROC)."""
    scores = np.array([row["score"] for row in rows])
    thresholds = np.quantile(scores, np.linspace(0, 1, 41))
    charts = [
        {
            "title": "Filter: share of pairs kept, by threshold",
            "kind": "lines",
            "xlabel": "threshold (cosine)",
            "series": {"kept": [[float(t), float((scores >= t).mean())] for t in thresholds]},
        }
    ]
    wrong = _truth(rows)
    if wrong is not None:
        cuts = [*thresholds, np.inf]  # the last one marks everything
        charts.append(
            {
                "title": "Filter ROC: wrong captions found, over right ones marked",
                "kind": "lines",
                "xlabel": "share of right captions that are marked",
                "series": {
                    "CLIP": [[float((scores[~wrong] < t).mean()), float((scores[wrong] < t).mean())] for t in cuts],
                    "chance": [[0.0, 0.0], [1.0, 1.0]],
                },
            }
        )
    return charts
