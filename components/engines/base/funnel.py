"""The counts of a stage: every record in is kept, rejected or quarantined, with a reason, and the counts add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from components.engines.base.errors import StageError, UnusableRecords

_SHOWN_CHARS = 300


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

    def check(
        self,
        *,
        where: str,
        max_bad_fraction: float = 1.0,
        max_rejected_fraction: float = 1.0,
        records: Iterable[dict[str, Any]] = (),
    ) -> None:
        """Refuse counts that do not add up, and more quarantined or rejected records than these fractions of those seen.

        `records` are those left out so far, with their reasons: one of each is shown, and the stage runner keeps them all.
        """
        bad = sum(self.quarantined.values())
        if self.seen != self.kept + sum(self.rejected.values()) + bad:
            raise StageError(f"Records do not add up: {self.as_dict()}", where=where, do="report this: it is a bug")
        if bad > max_bad_fraction * self.seen:
            raise UnusableRecords(
                f"{bad} of {self.seen} records are unusable, more than max_bad_fraction {max_bad_fraction:g} "
                f"({_counted(self.quarantined)}){_one_of_each(records, self.quarantined)}",
                where=where,
                do="correct the source or the params that say how it is read, or raise max_bad_fraction if this is expected",
                records=records,
            )
        rejected = sum(self.rejected.values())
        if rejected > max_rejected_fraction * self.seen:
            raise UnusableRecords(
                f"{rejected} of {self.seen} records are rejected, more than max_rejected_fraction "
                f"{max_rejected_fraction:g} ({_counted(self.rejected)}){_one_of_each(records, self.rejected)}",
                where=where,
                do="correct the source or the params that reject them, or raise max_rejected_fraction if this is expected",
                records=records,
            )

    def check_some_kept(self, what: str, *, where: str, do: str, records: Iterable[dict[str, Any]] = ()) -> None:
        """Refuse a stage that keeps nothing, with what became of the records. `what` they are, in the plural."""
        if not self.kept:
            raise UnusableRecords(
                f"None of {self.seen} {what} is left ({_counted(self.rejected + self.quarantined) or 'the source is empty'})"
                f"{_one_of_each(records, self.rejected + self.quarantined)}",
                where=where,
                do=do,
                records=records,
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


def _counted(reasons: Counter[str]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common())


def _one_of_each(records: Iterable[dict[str, Any]], reasons: Counter[str]) -> str:
    """`; for example bad quoting (a.csv:41: …)`: the first record of each reason, shortened."""
    first: dict[str, str] = {}
    for record in records:
        if reasons.keys() <= first.keys():
            break  # what follows may be millions
        reason = str(record.get("reason", ""))
        if reason not in first:
            first[reason] = _shown(record)
    return f"; for example {'; '.join(f'{reason} ({shown})' for reason, shown in first.items())}" if first else ""


def _shown(record: dict[str, Any]) -> str:
    place = ":".join(str(record[name]) for name in ("file", "line") if record.get(name) is not None)
    detail = record.get("detail")
    if not detail:  # a rejected sample: what it says for itself
        told = [record[name] for name in ("source", "target", "caption") if record.get(name)]
        detail = " → ".join(map(str, told))
    key = "" if place else str(record.get("key", ""))
    shown = ": ".join(part for part in (place, key, " ".join(str(detail).split())) if part)
    return shown if len(shown) <= _SHOWN_CHARS else shown[: _SHOWN_CHARS - 1] + "…"
