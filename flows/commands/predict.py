"""`genworks predict`: a registered model on what is named on the command line, the lines of a file, or stdin as they come."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from components.engines.base.errors import StageError, UsageError
from components.engines.tracking import predict as program
from components.engines.tracking.store import store_of
from flows.commands.answer import Answer


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    if sum([bool(arguments.inputs), arguments.text is not None, arguments.file is not None]) > 1:
        raise UsageError("Inputs come from one place", do="give INPUT …, --text (--prompt) or --file, not two of them")
    store = store_of(root)
    if store.registry.startswith("sqlite:///") and not Path(store.registry.removeprefix("sqlite:///")).exists():
        raise UsageError(f"No model '{arguments.system}' is registered", do=f"genworks run {arguments.system}")
    separator = "/" if arguments.alias.isdecimal() else "@"
    command = [
        sys.executable,
        "-P",
        str(program.__file__),
        "--model",
        f"models:/{arguments.system}{separator}{arguments.alias}",
        "--folder",  # it runs elsewhere, and lines may name files
        str(Path.cwd()),
    ]
    if arguments.out is not None:
        command += ["--out", str(Path.cwd() / arguments.out)]
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONSTARTUP"}}
    environment |= {
        "MLFLOW_TRACKING_URI": store.tracking,
        "MLFLOW_REGISTRY_URI": store.registry,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as complaints:
        lines = arguments.inputs or ([] if arguments.text is None else [arguments.text])
        given.write("".join(f"{' '.join(line.splitlines())}\n" for line in lines).encode())
        given.seek(0)
        source = given if lines else _open(arguments.file) if arguments.file else None
        words = [*command, *(["--json"] if arguments.json else [])]
        code = subprocess.run(
            words, stdin=source, stderr=complaints, env=environment, cwd=tempfile.gettempdir(), check=False
        ).returncode
        if code:
            complaints.seek(0)
            _explain(code, complaints.read().decode(errors="replace"), arguments, root)
    return Answer(None, "")


def _open(name: str) -> int:
    if Path(name).is_dir():  # which os.open would take
        raise UsageError("This is a folder, not a file", where=name, do="name a file with one input a line")
    try:
        return os.open(name, os.O_RDONLY)
    except FileNotFoundError:
        raise UsageError("The file does not exist", where=name, do="name a file with one input a line") from None


def _explain(code: int, said: str, arguments: argparse.Namespace, root: Path) -> None:
    if code == program.NO_SUCH_MODEL:
        from components.engines.tracking.registry import version

        version(root, arguments.system, arguments.alias)  # says in our words which versions there are
    last = (said.strip().splitlines() or [f"exit code {code}"])[-1]
    if code == program.NO_FILE:
        raise StageError(last, do="read above what was answered instead")
    ours, _, words = last.partition("Error: ")  # a GenworksError's own words, behind the name of its class
    if ours.startswith("components.engines.base.errors."):
        raise StageError(f"{arguments.system} could not predict: {words}")
    raise StageError(f"{arguments.system} could not predict: {last}", do="genworks doctor")
