"""Statistics per sentence that add up to a corpus figure: what the bootstrap resamples."""

from __future__ import annotations

from collections.abc import Sequence

from components.engines.scoring.metrics import load


def bleu_statistics(
    hypotheses: Sequence[str],
    references: Sequence[str] | Sequence[list[str]],
    *,
    tokenize: str = "13a",
    max_order: int = 4,
) -> list[list[int]]:
    """Per sentence [sys_len, ref_len, correct_1…n, total_1…n] in sacrebleu's order, n = `max_order`.

    Their sum over any set of sentences gives that set's corpus BLEU.
    """
    from components.engines.scoring.modules.bleu import bleu  # takes seconds: `evaluate` and `datasets` come with it

    return load(bleu).statistics(hypotheses, references, tokenize=tokenize, max_order=max_order)
