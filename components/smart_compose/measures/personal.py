"""How much of what is personal is found, by kind, on labelled mails; also in ways of writing kept for this alone."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from components.engines.base.seeds import derive
from components.engines.text.pii import KINDS, Span, find_personal
from components.smart_compose.world.labelled import labelled_mails

NUM_MAILS = 400


def personal_figures(region: str = "US", seed: int = 0) -> dict[str, Any]:
    """Recall and precision of `find_personal`, overall and by kind; `held_out_*` where every value is written in a way that the
    other mails never have; `*_in_full`: the share of values of which no character is left, whatever they were taken for.

    A value is found if one span of its kind covers it; a span is right if it overlaps a value of its kind.
    """
    figures: dict[str, Any] = {}
    for prefix, held_out in (("", False), ("held_out_", True)):
        rng = random.Random(derive(seed, "labelled", held_out))
        counts: Counter[tuple[str, str]] = Counter()
        for text, labels in labelled_mails(rng, NUM_MAILS, held_out=held_out):
            counts += compared(find_personal(text, region=region), [Span(*label) for label in labels])
        figures |= {
            f"{prefix}pii_recall": _share(counts, "found", "value", KINDS),
            f"{prefix}pii_precision": _share(counts, "right", "span", KINDS),
            f"{prefix}pii_in_full": _share(counts, "covered", "value", KINDS),
            f"{prefix}pii_recall_by_kind": {kind: _share(counts, "found", "value", [kind]) for kind in KINDS},
            f"{prefix}pii_precision_by_kind": {kind: _share(counts, "right", "span", [kind]) for kind in KINDS},
        }
    return figures


def compared(spans: list[Span], labels: list[Span]) -> Counter[tuple[str, str]]:
    """Counts under (what, kind): of labels `value`, `found`, `covered`, of spans `span`, `right`."""
    counts: Counter[tuple[str, str]] = Counter()
    for label in labels:
        alike = [one for one in spans if one.kind == label.kind]
        taken = {place for one in spans for place in range(one.start, one.end)}
        counts["value", label.kind] += 1
        counts["found", label.kind] += any(one.start <= label.start and label.end <= one.end for one in alike)
        counts["covered", label.kind] += taken.issuperset(range(label.start, label.end))
    for span in spans:
        counts["span", span.kind] += 1
        counts["right", span.kind] += any(
            span.kind == one.kind and span.start < one.end and one.start < span.end for one in labels
        )
    return counts


def _share(counts: Counter[tuple[str, str]], part: str, whole: str, kinds: Any) -> float:
    """Of nothing the share is 1: nothing was missed."""
    total = sum(counts[whole, kind] for kind in kinds)
    return sum(counts[part, kind] for kind in kinds) / total if total else 1.0
