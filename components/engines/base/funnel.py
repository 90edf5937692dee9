"""The books of a stage: every record in is kept, rejected or quarantined, with a reason, and the counts add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from components.engines.base.errors import StageError


@dataclass
class Funnel:
    """Counts of records through one stage (or one shard of it; `merge` adds them up).

    Rejected records are sound but unwanted (a duplicate, a bad length ratio); quarantined ones could not be used at all
    (undecodable, a missing field). Reasons are short fixed words, so that counts by reason mean something.
    """

    seen: int = 0
    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)

    def keep(self) -> None:
        self.seen += 1
        self.kept += 1

    def reject(self, reason: str) -> None:
        self.seen += 1
        self.rejected[reason] += 1

    def quarantine(self, reason: str) -> None:
        self.seen += 1
        self.quarantined[reason] += 1

    def merge(self, other: Funnel) -> None:
        self.seen += other.seen
        self.kept += other.kept
        self.rejected += other.rejected
        self.quarantined += other.quarantined

    def check(self, *, where: str, max_bad_fraction: float = 1.0) -> None:
        """Refuse books that do not add up, and more quarantined records than `max_bad_fraction` of those seen."""
        bad = sum(self.quarantined.values())
        if self.seen != self.kept + sum(self.rejected.values()) + bad:
            raise StageError(f"Records do not add up: {self.as_dict()}", where=where, do="report this: it is a bug")
        if bad > max_bad_fraction * self.seen:
            reasons = ", ".join(f"{reason}: {count}" for reason, count in self.quarantined.most_common())
            raise StageError(
                f"{bad} of {self.seen} records are unusable, more than max_bad_fraction {max_bad_fraction:g} ({reasons})",
                where=where,
                do="look at the source and at `fields`, or raise max_bad_fraction if this is expected",
            )

    def as_dict(self) -> dict[str, Any]:
        return {
            "seen": self.seen,
            "kept": self.kept,
            "rejected": dict(sorted(self.rejected.items())),
            "quarantined": dict(sorted(self.quarantined.items())),
        }

    @classmethod
    def from_dict(cls, counts: dict[str, Any]) -> Funnel:
        return cls(counts["seen"], counts["kept"], Counter(counts["rejected"]), Counter(counts["quarantined"]))
