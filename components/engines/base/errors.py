"""Errors a user can act on: each says what happened, where, and what to do about it."""

from __future__ import annotations

import errno
import unicodedata
from collections.abc import Iterable
from typing import Any


def printable(text: str) -> str:
    """The text with control and formatting characters written as escapes: data must not steer the reader's terminal."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        sign if sign in {"\n", "\t"} or unicodedata.category(sign) not in _STEERING else ascii(sign)[1:-1]
        for sign in text
    )


_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")  # escapes, bidirectional overrides, lone surrogates, line separators


class GenworksError(Exception):
    """A failure with a cause the user can see and a step the user can take.

    `what` happened, `where` (file, key, stage, record), and what to `do`. Printed as one paragraph; the exit code is
    1 for work that failed and 2 (`UsageError`) for a bad configuration or command, which no retry can cure.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", do: str = "") -> None:
        self.what, self.where, self.do = what.rstrip("."), where, do.rstrip(".")
        super().__init__(str(self))

    def __str__(self) -> str:
        where = f" Where: {self.where}." if self.where else ""
        do = f" What to do: {self.do}." if self.do else ""
        return printable(f"{self.what}.{where}{do}")

    def __reduce__(self):  # keyword arguments survive the trip through a Ray worker or a process pool
        return _rebuild, (type(self), self.what, self.where, self.do)


def _rebuild(kind: type[GenworksError], what: str, where: str, do: str) -> GenworksError:
    return kind(what, where=where, do=do)


class UsageError(GenworksError):
    """Bad configuration or command: exit code 2, never retried."""

    exit_code = 2


class StageError(GenworksError):
    """The work itself failed: exit code 1."""


class UnusableRecords(StageError):
    """Too many records had to be left out, or nothing is left. `records` are the evidence ({"reason", …}, one each).

    The stage runner keeps them where they outlive the failed stage, before it removes that stage's outputs, from which they
    may be read (see evidence.py).
    """

    def __init__(self, what: str, *, where: str = "", do: str = "", records: Iterable[dict[str, Any]] = ()) -> None:
        super().__init__(what, where=where, do=do)
        self.records = records

    def __reduce__(self):
        return _rebuild_unusable, (self.what, self.where, self.do, list(self.records))


def _rebuild_unusable(what: str, where: str, do: str, records: Iterable[dict[str, Any]]) -> UnusableRecords:
    return UnusableRecords(what, where=where, do=do, records=records)


class Stopped(StageError):
    """The work was told to end early and did so in order: what is done is kept, and running again goes on from there.

    Exit code 130, as of a command that Ctrl-C ended: neither done nor failed, so nothing tries it again by itself.
    """

    exit_code = 130


class Transient(StageError):
    """The work failed for what may be gone the next time (a machine lost, a process that hung): it may be tried again."""


class BadRecord(Exception):
    """One record cannot be used. The floor quarantines it with `reason`, counts it, and goes on."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

    def __reduce__(self):
        return BadRecord, (self.reason, self.detail)


def explain_os_error(error: OSError) -> GenworksError:
    """Words for the operating-system failures users meet; the rest keep the system's own message."""
    where = str(error.filename2 or error.filename or "")  # of a copy the second name is the one being written
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StageError(
            "The disk is full", where=where, do="free some space and run again: finished work under .work/ is kept"
        )
    if error.errno == errno.EACCES:
        return StageError("No permission", where=where, do="check the owner and mode of that path")
    return StageError(f"{type(error).__name__}: {error.strerror or error}", where=where)
