"""`genworks predict`: a registered model on what is named on the command line, the lines of a file, or stdin as they come."""

from __future__ import annotations

import argparse
import ctypes
import getpass
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from components.engines.base.errors import StageError, UsageError
from components.engines.tracking import predict as program
from components.engines.tracking.addresses import exists
from components.engines.tracking.names import check_system
from components.engines.tracking.scratch import scratch
from components.engines.tracking.standing import champion_now
from components.engines.tracking.store import reach, store_of
from flows.child import python_environment
from flows.commands.answer import Answer
from flows.project import require_system, systems_of

TALK = "components.engines.serving.talk"
_PR_SET_PDEATHSIG = 1


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    if sum([bool(arguments.inputs), arguments.text is not None, arguments.file is not None]) > 1:
        raise UsageError("Inputs come from one place", do="give INPUT …, --text (--prompt) or --file, not two of them")
    if arguments.session is not None or arguments.delete_session:
        return _talk(arguments, root)
    if arguments.out is not None:
        refuse_unwritable(Path(arguments.out))
    store, system = store_of(root), check_system(arguments.system)
    if not exists(store.registry):
        require_system(root, system)
        raise UsageError(f"No model '{system}' is registered", do=f"genworks run {system}")
    reach(store)
    separator = "/" if arguments.alias.isdecimal() else "@"
    command = [
        sys.executable,
        "-P",
        str(program.__file__),
        "--model",
        f"models:/{system}{separator}{arguments.alias}",
        "--folder",  # it runs elsewhere, and lines may name files
        str(Path.cwd()),
    ]
    if arguments.out is not None:
        command += ["--out", str(Path.cwd() / arguments.out)]
    environment = store.environment() | {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),  # 7 makes it 4 min
        "MLFLOW_HTTP_REQUEST_TIMEOUT": os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "30"),
    }
    with (
        scratch(root, "predict") as elsewhere,
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as complaints,
    ):
        environment |= {"TMPDIR": str(elsewhere)}  # what is fetched of a remote store goes with it
        lines = arguments.inputs or arguments.text or []
        given.write("".join(f"{' '.join(line.splitlines())}\n" for line in lines).encode())
        given.seek(0)
        source = given if lines else _open(arguments.file) if arguments.file else None
        words = [*command, *(["--json"] if arguments.json else [])]
        code = subprocess.run(
            words, stdin=source, stderr=complaints, env=environment, cwd=elsewhere, check=False,
            preexec_fn=_dying_with_parent(),
        ).returncode  # fmt: skip
        complaints.seek(0)
        said = complaints.read().decode(errors="replace").splitlines()
        warnings = [line for line in said if line.startswith(program.WARNING)]
        for line in warnings:
            print(line, file=sys.stderr)
        if code:  # a warning is never why: of a program that was killed it may be the last line
            _explain(code, "\n".join(line for line in said if line not in warnings), arguments, root)
    return Answer(None, "")


def refuse_unwritable(out: Path) -> None:
    """Raises UsageError for a path where no file can be written, before the model is asked."""
    if out.is_dir():
        raise UsageError("--out names a folder", where=str(out), do="name a file in it")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise UsageError("--out cannot be written there", where=str(above), do="name a file in a folder of yours")


def _talk(arguments: argparse.Namespace, root: Path) -> Answer:
    """A conversation with the champion: its answers go straight to the terminal, and it ends with its input."""
    if arguments.session is None or arguments.alias != "champion" or arguments.out is not None or arguments.json:
        raise UsageError(
            "A session is talked with in text, with the champion", do="give --session NAME without these options"
        )
    system = check_system(arguments.system)
    if not arguments.delete_session and champion_now(root, system) is None:
        require_system(root, system)
        raise UsageError(f"'{system}' has no champion to answer", do=f"genworks run {system}")
    words = [sys.executable, "-m", TALK, system, "--session", arguments.session]
    words += ["--user", arguments.user or getpass.getuser()]
    words += ["--delete"] if arguments.delete_session else []
    lines = arguments.inputs or arguments.text or []
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as complaints:
        given.write("".join(f"{' '.join(line.splitlines())}\n" for line in lines).encode())
        given.seek(0)
        source = given if lines else _open(arguments.file) if arguments.file else None
        done = subprocess.run(
            words, stdin=source, stderr=complaints, env=python_environment(), cwd=root, check=False,
            preexec_fn=_dying_with_parent(),
        )  # fmt: skip
        if done.returncode:
            complaints.seek(0)
            said = complaints.read().decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
            what = next((line for line in reversed(said) if line.startswith("error: ")), said[-1]).removeprefix(
                "error: "
            )
            raise (UsageError if done.returncode == UsageError.exit_code else StageError)(what)
    return Answer(None, "")


def _dying_with_parent() -> Callable[[], object] | None:
    """What ends the program when this command is killed; None where the system has no such thing."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # found here: between fork and exec nothing may be loaded
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _open(name: str) -> int:
    """A file or pipe of lines. Raises UsageError for what has no lines to read: a folder, a device, a process's memory."""
    do = "name a file with one input a line"
    try:
        kind = os.stat(name).st_mode
        if stat.S_ISDIR(kind):
            raise UsageError("This is a folder, not a file", where=name, do=do)
        opened = os.open(name, os.O_RDONLY)
        if stat.S_ISCHR(kind) and not os.isatty(opened) and not os.path.samefile(name, os.devnull):
            raise UsageError("This is a device, not a file", where=name, do=do)
        if stat.S_ISREG(kind):
            os.pread(opened, 1, 0)
    except FileNotFoundError:
        raise UsageError("The file does not exist", where=name, do=do) from None
    except OSError as error:
        raise UsageError(f"The file cannot be read: {error.strerror}", where=name, do=do) from None
    return opened


def _explain(code: int, said: str, arguments: argparse.Namespace, root: Path) -> None:
    if code == program.NO_SUCH_MODEL:
        from components.engines.tracking.registry import version

        version(root, arguments.system, arguments.alias)  # says in our words which versions there are
    lines = said.strip().splitlines() or [f"exit code {code}"]
    last = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[-1])
    if code == program.DAMAGED:
        again = f"dvc repro --force --single-item {arguments.system}-register"
        raise StageError(f"Nothing was run: {last}", do=f"make the version whole: {again}; or roll back to a sound one")
    if code in {program.NO_FILE, program.NO_ANSWER}:
        raise StageError(last, do="read above what was answered instead")
    ours, _, words = last.partition("Error: ")  # a GenworksError's own words, behind the name of its class
    if ours.startswith("components.engines.base.errors."):
        raise StageError(f"{arguments.system} could not predict: {words}")
    last = last.removeprefix("error: ")
    if "[Errno" in last and arguments.system in systems_of(root):  # of --out, or of stdin
        found = re.search(r"\[Errno \d+\] (.+?): '(.*)'$", last)
        why, where = (found[1], found[2]) if found else (last, "")
        raise UsageError(f"A file cannot be read or written: {why}", where=where, do="name another for --out or --file")
    raise StageError(f"{arguments.system} could not predict: {last}", do="genworks doctor")
