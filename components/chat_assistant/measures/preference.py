"""How often the reward model orders two answers as they are worth, by how much they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.chat_assistant.networks.scorer import score_all
from components.chat_assistant.tasks.reading import Pair
from components.engines.language.records import Record


def preference_figures(reward: Any, pairs: Sequence[tuple[Pair, Record]]) -> dict[str, Any]:
    """Accuracy and mean gap in all, and by margin, from the smallest on; random scores would be right half the time.

    On the sample world labels that are the wrong way round are known, and put right first: what is measured is not the noise.
    `reward_accuracy_labels` is measured on the labels as they are.
    """
    chosen = score_all(reward, [one.prompt + one.chosen for one, _ in pairs])[:, 0].tolist()
    rejected = score_all(reward, [one.prompt + one.rejected for one, _ in pairs])[:, 0].tolist()
    labelled = [good - bad for good, bad in zip(chosen, rejected, strict=True)]
    gaps = [-gap if record.meta.get("flipped") else gap for gap, (_, record) in zip(labelled, pairs, strict=True)]
    by_margin: dict[float, list[float]] = {}
    for gap, (one, _) in zip(gaps, pairs, strict=True):
        by_margin.setdefault(one.margin, []).append(gap)
    means = [sum(found) / len(found) for _, found in sorted(by_margin.items())]
    return {
        "reward_accuracy": _right(gaps),
        "reward_accuracy_labels": _right(labelled),
        "reward_chance": 0.5,
        "reward_accuracy_by_margin": {f"{margin:g}": _right(found) for margin, found in sorted(by_margin.items())},
        "reward_gap_by_margin": {f"{margin:g}": mean for margin, mean in zip(sorted(by_margin), means, strict=True)},
        "reward_gap_is_monotone": float(means == sorted(means)),
        "test_pairs": len(pairs),
    }


def _right(gaps: Sequence[float]) -> float:
    """Ties count half."""
    return sum((gap > 0) + 0.5 * (gap == 0) for gap in gaps) / len(gaps)
