"""The alpha ledger: how much chance of a wrong promotion each judgement on one test set may take.

Whoever tries often enough gets a worse model past any fixed level by luck. So the k-th judgement on a test set is made at
the level alpha · w(k), where all w(1), w(2), … together are 1: the chance that any promotion on that test set was wrong
stays below alpha, however many candidates come (the union bound; Tian and Ramdas 2021, "Online control of the familywise
error rate", Statistical Methods in Medical Research 30, 976, whose weights these are). What was spent is read off the
ledger's lines. Another test set starts anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

_POWER = 1.6  # slow decay: the hundredth judgement still has a level that a test set of hundreds can reach
_SUM = 2.2857656  # of k ** -1.6 over all k


@dataclass(frozen=True)
class Allowance:
    """What one judgement may spend. `judgement` names what is compared with what; `number` counts from 1 on these `examples`."""

    examples: str
    judgement: str
    number: int
    level: float
    left: float  # of alpha, after this one

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def weight(number: int) -> float:
    """The share of alpha of the judgement with this number, from 1."""
    return number**-_POWER / _SUM


def allowance(earlier: Iterable[dict[str, Any]], examples: str, judgement: str, alpha: float) -> Allowance:
    """The next judgement's allowance after the `earlier` ones (as `as_dict` gave them, of any test set).

    The same judgement made again is given what it was given: it has the same answer, so it can be no second chance.
    """
    spent = {one["judgement"]: one for one in earlier if one["examples"] == examples}
    total = sum(one["level"] for one in spent.values())
    if judgement in spent:
        before = spent[judgement]
        return Allowance(examples, judgement, before["number"], min(before["level"], alpha), max(0.0, alpha - total))
    number = len(spent) + 1
    level = max(0.0, min(alpha * weight(number), alpha - total))  # alpha may have been lowered meanwhile
    return Allowance(examples, judgement, number, level, max(0.0, alpha - total - level))
