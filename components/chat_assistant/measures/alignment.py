"""What alignment has brought: answers of each policy to the same questions, beside random ones, the best of several, and the
gold."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.chat_assistant.measures.rewards import Judge, Judged, gold_of
from components.chat_assistant.world.instructions import BEST
from components.engines.scoring.bootstrap import paired_bootstrap

BASE = "sft"


def alignment_figures(judge: Judge, policies: Mapping[str, Any], draws: int, best_of: int) -> dict[str, float]:
    """Rewards, KL and entropy of each policy; win rates over the fine-tuned model with their intervals."""
    found = {name: judge.judged(policy, copies=draws) for name, policy in policies.items()}
    figures: dict[str, float] = {}
    for name, answers in found.items():
        figures |= {
            f"learned_{name}": _mean([one.learned for one in answers]),
            f"kl_{name}": _mean([one.kl for one in answers]),
            f"entropy_{name}": _mean([one.entropy for one in answers]),
        }
        if answers[0].gold is not None:
            figures[f"gold_{name}"] = _mean(_values(answers))
        if name != BASE:
            figures |= _against(name, _values(answers), _values(found[BASE]), draws)
    return figures | _best_of(judge, policies[BASE], best_of) | _baselines(judge)


def _against(name: str, ours: Sequence[float], theirs: Sequence[float], draws: int) -> dict[str, float]:
    """Share of draws in which the policy's answer is worth more (ties count half), and the gain, each with a 95 % interval over
    questions."""
    wins = [(a > b) + 0.5 * (a == b) for a, b in zip(ours, theirs, strict=True)]
    won, gained, base = (np.reshape(one, (-1, draws)).mean(1) for one in (wins, ours, theirs))
    rate = paired_bootstrap(won, np.full(len(won), 0.5), "mean")
    gain = paired_bootstrap(gained, base, "mean")
    return {
        f"win_rate_{name}": rate.candidate,
        f"win_rate_{name}_low": rate.low + 0.5,
        f"win_rate_{name}_high": rate.high + 0.5,
        f"gain_{name}": gain.difference,
        f"gain_{name}_low": gain.low,
        f"gain_{name}_high": gain.high,
    }


def _best_of(judge: Judge, policy: Any, best_of: int) -> dict[str, float]:
    """Of several answers of the fine-tuned model that which the reward model likes best, beside the first one and the gold's
    choice."""
    answers = judge.judged(policy, copies=best_of)
    groups = [answers[start : start + best_of] for start in range(0, len(answers), best_of)]
    chosen = [max(group, key=lambda one: one.learned) for group in groups]
    return {
        "best_of": _mean(_values(chosen)),
        "best_of_single": _mean(_values([group[0] for group in groups])),
        "best_of_oracle": _mean([max(_values(group)) for group in groups]),
    }


def _baselines(judge: Judge) -> dict[str, float]:
    """The gold reward of answers to other questions, and of the best that can be said."""
    known = [one for one in judge.asked if one.record.meta.get("right") is not None]
    if not known:
        return {}
    said = [list(one.record.texts.values())[-1] for one in known]
    random.Random(judge.seed).shuffle(said)
    random_gold = [gold_of(one, text) or 0.0 for one, text in zip(known, said, strict=True)]
    people = [gold_of(one, list(one.record.texts.values())[-1]) or 0.0 for one in known]
    return {"gold_random": _mean(random_gold), "gold_people": _mean(people), "gold_most": BEST}


def _values(answers: Sequence[Judged]) -> list[float]:
    """The gold reward, or, where nobody knows it, the learned one."""
    return [one.learned if one.gold is None else one.gold for one in answers]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
