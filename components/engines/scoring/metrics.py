"""Metrics by name: each is an `evaluate.Metric` in `modules/<name>/<name>.py`, loaded by path, without the network.

A new metric is one such folder. Beside `_info` and `_compute` (a dict of figures for the whole corpus) a module may define
`sentence_scores(predictions, references, **options) -> list[float]`, one figure per example for slices and bootstrap.
`evaluate` reads a module's import lines itself: one import per line, absolute; and takes the first `Metric` class it finds
in it, an imported one too. Stages pass the imported module rather than its name
(`from components.engines.scoring.modules.bleu import bleu; load(bleu)`), so that their code fingerprint sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from components.engines.base.errors import StageError, UsageError
from components.engines.scoring import CACHE

MODULES = Path(__file__).parent / "modules"


def names() -> list[str]:
    """The metrics there are."""
    return sorted(path.parent.name for path in MODULES.glob("*/*.py") if path.stem == path.parent.name)


def load(metric: str | ModuleType) -> Any:
    """The `evaluate.Metric` of a module or a name. Raises UsageError for a name that is not in `names()`."""
    return _load(metric if isinstance(metric, str) else metric.__name__.rsplit(".", 1)[-1])


@cache
def _load(name: str) -> Any:
    if name not in names():
        raise UsageError(f"There is no metric '{name}'", where=str(MODULES), do=f"use one of: {', '.join(names())}")
    import evaluate

    return evaluate.load(str(MODULES / name / f"{name}.py"), cache_dir=str(CACHE / "evaluate"), keep_in_memory=True)


def compute(
    metric: str | ModuleType, predictions: Sequence[Any], references: Sequence[Any] | None = None, **options: Any
) -> dict[str, Any]:
    """Figures of a whole corpus. `references[i]` is one reference or a list of them; perplexity takes none.

    Metrics of images and features take arrays or tensors (see `arrays.py` and each module for shapes).
    Raises UsageError for an unknown metric or option, StageError for nothing to score or unequal lengths.
    """
    module = load(metric)
    columns = _columns(module, predictions, references)
    try:
        return module.compute(**columns, **options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise UsageError(f"Metric {module.name}: {str(error).split('() ')[-1]}") from None


def sentence_scores(
    metric: str | ModuleType, predictions: Sequence[Any], references: Sequence[Any] | None = None, **options: Any
) -> list[float]:
    """One figure per example, by the same metric; higher or lower is better as with the corpus figure."""
    module = load(metric)
    if not hasattr(module, "sentence_scores"):
        raise UsageError(f"Metric {module.name} has no figure per example", do="use `compute`")
    return module.sentence_scores(**_columns(module, predictions, references), **options)


def _columns(module: Any, predictions: Any, references: Any) -> dict[str, Any]:
    """Lists of examples, or arrays as they are: two sets need not be of one size, so those modules check for themselves."""
    given = {"predictions": predictions} | ({} if references is None else {"references": references})
    if getattr(module, "takes_arrays", False):
        return given
    _check_lengths(module.name, predictions, references)
    return {name: list(values) for name, values in given.items()}


def _check_lengths(name: str, predictions: Sequence[Any], references: Sequence[Any] | None) -> None:
    if len(predictions) == 0:
        raise StageError(f"Metric {name} has nothing to score: no predictions")
    if references is not None and len(predictions) != len(references):
        raise StageError(
            f"Metric {name} needs one reference per prediction, got {len(references)} for {len(predictions)}"
        )
