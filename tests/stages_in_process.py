"""Stages of a copy of this project one after the other in one process, and the definitions that each executed.

    python -m tests.stages_in_process FILE STAGE…        # in the copy; FILE: {stage: [module:definition, …]} as JSON

What a stage executes must be in its key, whoever resolves names: this is the oracle for the static analysis.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import runpy
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from types import CodeType, FrameType

import yaml

from components.engines.base.bindings import bound_by
from components.engines.base.fingerprint import module_of
from components.engines.base.paths import digest_path
from components.engines.base.watching import SWITCH


def run_stages(root: Path, stages: list[str], *, watching: bool) -> dict[str, set[str]]:
    """Run them in a process of their own in `root`, a copy of the project; without watchers: what each executed."""
    told = root / ".work" / f"executed-{watching}.json"
    told.parent.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.stages_in_process", str(told), *stages],
        cwd=root,
        env=os.environ | {"PYTHONPATH": ".", SWITCH: "on" if watching else "off", "MLFLOW_TRACKING_URI": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {stage: set(found) for stage, found in json.loads(told.read_text()).items()}


def outputs_of(root: Path, stages: list[str]) -> dict[str, str]:
    """SHA-256 of every output of these stages, by its path."""
    blocks = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    named = [one for stage in stages for kind in ("outs", "metrics", "plots") for one in blocks[stage].get(kind, [])]
    paths = [next(iter(one)) if isinstance(one, dict) else one for one in named]
    return {path: digest_path(root / path) for path in paths}


class Tracer:
    """Functions of the project that were called, from when it is set until it is taken."""

    def __init__(self, root: Path) -> None:
        self.prefix = f"{root.resolve()}/components/"
        self.codes: set[CodeType] = set()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code not in self.codes:
            self.codes.add(frame.f_code)

    def definitions(self, root: Path) -> list[str]:
        found = set()
        for code in self.codes:
            if (
                code.co_filename.startswith(self.prefix) and code.co_flags & inspect.CO_OPTIMIZED
            ):  # no class or module body
                name = Path(code.co_filename).relative_to(root.resolve()).with_suffix("").as_posix().replace("/", ".")
                label = _label(code.co_filename, code.co_firstlineno)
                if label:
                    found.add(f"{name.removesuffix('.__init__')}:{label}")
        return sorted(found)


@cache
def _statements(file: str) -> list[tuple[int, int, str]]:
    tree = ast.parse(Path(file).read_bytes())
    found = []
    for node in tree.body:
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
        found.append((first, node.end_lineno or 0, ", ".join(sorted(bound_by(node)))))
    return found


def _label(file: str, line: int) -> str:
    """What the statement at the top of the module binds that this line belongs to."""
    return next((names for first, last, names in _statements(file) if first <= line <= last), "")


def main() -> None:
    told, *stages = sys.argv[1:]
    root = Path.cwd()
    sys.path.insert(0, str(root))
    blocks = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    executed = {}
    for stage in stages:
        tracer, module = Tracer(root), str(module_of(blocks[stage]["cmd"]))
        sys.argv = [stage]
        if os.environ.get(SWITCH) == "off":  # what watches would be among what is executed
            threading.setprofile(tracer)
            sys.setprofile(tracer)
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            if ended.code:
                raise
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        executed[stage] = tracer.definitions(root)
    Path(told).write_text(json.dumps(executed))


if __name__ == "__main__":
    main()
