"""What a run may cost: hours spent, those of earlier attempts included, against the limits of its params.

The hours stand in a file of the work folder, never in a checkpoint, whose bytes must not depend on time. They are
counted on the first rank, from the start of the fit; what starting workers takes is not among them.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from components.engines.base.errors import StageError, Stopped
from components.engines.base.paths import read_json, write_json
from components.engines.training.params import Budget

log = logging.getLogger("genworks")

SPENT_FILE = "spent.json"
SECONDS_BETWEEN_NOTES = 10.0  # what a `kill -9` can hide from the account


class Spending:
    """The account of one run. Without a budget it costs nothing and writes nothing."""

    def __init__(self, budget: Budget | None, work: Path) -> None:
        self.budget, self.path = budget, work / SPENT_FILE
        self.started = self.noted = time.monotonic()
        self.earlier = _read(self.path) if budget is not None else 0.0

    @property
    def hours(self) -> float:
        return (self.earlier + time.monotonic() - self.started) / 3600

    def is_over(self) -> bool:
        limit = self.budget.hours if self.budget is not None else None
        return limit is not None and self.hours >= limit

    def note(self, *, at_once: bool = False) -> None:
        """Write the account down, if that is due."""
        now = time.monotonic()
        if self.budget is None or not (at_once or now - self.noted >= SECONDS_BETWEEN_NOTES):
            return
        self.noted = now
        try:
            write_json(self.path, {"seconds": round(self.hours * 3600, 3)})
        except OSError as error:
            log.warning("The time spent cannot be written down (%s): a later run will not count it", error)

    def stopped(self, what: str) -> Stopped:
        assert self.budget is not None
        return Stopped(
            f"{what}: its budget is spent ({self.budget.words()})",
            where=str(self.path.parent),
            do="raise `budget` and run again: it goes on from the last checkpoint",
        )


def _read(path: Path) -> float:
    try:
        return float(read_json(path)["seconds"])
    except FileNotFoundError:
        return 0.0
    except (ValueError, KeyError, TypeError) as error:
        raise StageError(
            f"The account of the time spent cannot be read ({type(error).__name__})",
            where=str(path),
            do="delete the file to count from 0",
        ) from error
