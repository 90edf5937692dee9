"""One stage, run by DVC in a process of its own."""

from __future__ import annotations

import builtins
import collections
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.engines.base.errors import StageError
from components.engines.base.paths import read_json, remove, write_json
from flows.child import OF_STAGES, Children, python_environment
from flows.dvc_lock import keep_lock_file
from flows.leftovers import release_gone_lockers

State = Literal["done", "cached"]
BUSY_POLL_SECONDS = 2.0
_TAIL_LINES = 8

# What DVC says of itself between a stage's own lines: our report says it better.
_CHATTER = re.compile(
    r"^(Running stage '|Updating lock file|Generating lock file|To track the changes with git|\tgit add |To enable auto staging|"
    r"\tdvc config core\.autostage|Use `dvc push`|Verifying data sources|> python |Reproducing experiment|Ran experiment|"
    r"To apply the results|\tdvc exp apply|WARNING: Process '.*had been killed|WARNING: No file hash info found for|"
    r"WARNING: The following untracked files were present|\t(\S*\.gitignore(, )?)+$)|^\s*$"
)
_SKIPPED = re.compile(r"^Stage '.*' (didn't change, skipping|is cached - skipping run, checking out outputs)")
_BUSY = re.compile(r"is busy, it is being blocked by")


@dataclass(frozen=True)
class Outcome:
    """How a stage ended well. `cached`: it did not have to run (unchanged, or its outputs came out of DVC's cache)."""

    stage: str
    state: State
    seconds: float


class StageFailed(StageError):
    """A stage ended badly. `curable`: it was killed or met the system's troubles, so a second try may do."""

    def __init__(self, stage: str, message: str, *, curable: bool) -> None:
        super().__init__(message)
        self.stage, self.curable = stage, curable

    def __reduce__(self):
        return _rebuild, (self.stage, self.what, self.curable)


def _rebuild(stage: str, message: str, curable: bool) -> StageFailed:
    return StageFailed(stage, message, curable=curable)


def run_stage(
    root: Path,
    stage: str,
    *,
    children: Children,
    say: Callable[[str], None],
    force: bool = False,
    env: dict[str, str] | None = None,
) -> Outcome:
    """`dvc repro --single-item STAGE`, its lines handed to `say` as they come. Raises StageFailed.

    Waits where another process (a `dvc repro` by hand, a second flow) works on the same paths.
    """
    command = ["dvc", "--wait-for-lock", "repro", "--single-item", *(["--force"] if force else []), stage]
    outcome_file = root / ".work" / stage / "outcome.json"
    started = time.monotonic()
    said_busy = False
    while True:
        remove(outcome_file)  # an earlier failure must not explain this one
        code, lines, skipped = _stream(root, command, children, say, env or {})
        if code == 0:
            keep_lock_file(root)
            outcome = Outcome(stage, "cached" if skipped else "done", time.monotonic() - started)
            if outcome.state == "done":
                write_json(_took(root, stage), {"seconds": outcome.seconds})
            return outcome
        if children.stopped:
            told = read_json(outcome_file)["message"] if outcome_file.exists() else f"{stage} was stopped"
            raise StageFailed(stage, told, curable=False)
        busy = next((n for n, line in enumerate(lines) if _BUSY.search(line)), None)
        if busy is None:
            raise _failure(stage, code, lines, outcome_file)
        freed = release_gone_lockers(root)
        for line in freed:
            say(line)
        if freed:
            continue
        if not said_busy:
            say(f"waiting: {' '.join(line.strip() for line in lines[busy : busy + 2])}")
            said_busy = True
        time.sleep(BUSY_POLL_SECONDS)


def last_seconds(root: Path, stage: str) -> float | None:
    """How long the stage took when it last really ran here; None if it never did."""
    try:
        return float(read_json(_took(root, stage))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _took(root: Path, stage: str) -> Path:
    return root / ".work" / stage / "took.json"


def _stream(
    root: Path, command: list[str], children: Children, say: Callable[[str], None], env: dict[str, str]
) -> tuple[int, list[str], bool]:
    """Exit code, the last lines, and whether DVC found nothing to run."""
    process = children.start(command, cwd=root, env=python_environment() | env, farewell=OF_STAGES)
    tail: collections.deque[str] = collections.deque(maxlen=200)
    skipped = False
    try:
        assert process.stdout is not None
        for text in process.stdout:
            line = text.rstrip()
            skipped = skipped or bool(_SKIPPED.match(line))
            tail.append(line)
            if not is_chatter(line) and not line.startswith(("ERROR: ", "error: ")):  # told once, as the failure
                say(line)
        code = process.wait()
    except BaseException:
        children.stop(process)
        raise
    children.forget(process)
    return code, list(tail), skipped


def is_chatter(line: str) -> bool:
    """Whether DVC says this of itself."""
    return bool(_CHATTER.match(line) or _SKIPPED.match(line))


def _signal_in(line: str) -> int | None:
    """The signal that ended a command, from DVC's words: -9 as the system says it, 137 as a shell in between says it."""
    found = re.search(r"exited with (-?\d+)", line)
    if found is None:
        return None
    code = int(found[1])
    number = -code if code < 0 else code - 128
    return number if number in set(signal.Signals) else None


def _failure(stage: str, code: int, lines: list[str], outcome_file: Path) -> StageFailed:
    """The stage's own explanation where it gave one; else what DVC and the system tell."""
    if outcome_file.exists():
        told = read_json(outcome_file)
        return StageFailed(stage, told["message"], curable=told["exit_code"] == 1 and _system_trouble(told["message"]))
    if code < 0:
        name = signal.Signals(-code).name
        return StageFailed(stage, f"{stage} was killed by {name}. What to do: run again", curable=True)
    number = next((found for line in lines if (found := _signal_in(line))), None)
    if number:
        name = signal.Signals(number).name
        hint = "run again; if that repeats, lower the batch size: the system kills what takes too much memory"
        return StageFailed(stage, f"{stage} was killed by {name}. What to do: {hint}", curable=True)
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]  # the `code` stage
    told = told or [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    told = told or [line for line in lines if line][-_TAIL_LINES:]
    return StageFailed(stage, f"{stage} failed: {' '.join(told)}", curable=False)


def _system_trouble(message: str) -> bool:
    """Whether the stage's message is one of the system's (`ConnectionResetError: …`), rather than words of ours.

    A missing file, a full disk or a missing permission has the same cause a minute later.
    """
    kind = getattr(builtins, message.split(":", 1)[0], None)
    lasting = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
    return isinstance(kind, type) and issubclass(kind, OSError) and not issubclass(kind, lasting)
