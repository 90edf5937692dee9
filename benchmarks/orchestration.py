"""What our orchestration adds to DVC: a run with nothing to do, against `dvc status` of the same project.

The project is a toy with as many stages as translation has, everything up to date; both commands are whole processes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from components.engines.base.paths import write_json
from flows.promote import _judged_key, _judged_path

STAGES = 8
BAR = 1.5


def run(repeats: int = 5) -> list[dict[str, Any]]:
    """`[{name, ours, theirs, ratio, bar}]`, seconds of wall time, medians; the two commands take turns."""
    with tempfile.TemporaryDirectory(prefix="genworks-bench-") as folder:
        root = Path(folder)
        _make(root)
        commands = {
            "ours": [sys.executable, "-m", "flows.cli", "run", "--all"],
            "theirs": [sys.executable, "-m", "dvc", "status"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(repeats + 1):
            for name, command in commands.items():
                seconds = _timed(command, root)
                if turn:  # the first one reads everything from disk
                    times[name].append(seconds)
    ours, theirs = (statistics.median(times[name]) for name in ("ours", "theirs"))
    name = f"genworks run with nothing to do ÷ dvc status ({STAGES} stages)"
    return [{"name": name, "ours": ours, "theirs": theirs, "ratio": ours / theirs, "bar": BAR}]


def _timed(command: list[str], root: Path) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=root, check=True, capture_output=True, env=_environment())
    return time.perf_counter() - started


def _environment() -> dict[str, str]:
    repository = Path(__file__).resolve().parents[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(repository), "DVC_NO_ANALYTICS": "1"}


def _make(root: Path) -> None:
    """A chain of stages that copy a number, run once. The rooms' code is the repository's, so imports cost what they do."""
    modules = [*(f"step{number}" for number in range(STAGES - 1)), "register"]
    package = root / "components" / "chain"
    package.mkdir(parents=True)
    repository = Path(__file__).resolve().parents[1]
    (root / "components" / "__init__.py").touch()
    (root / "components" / "engines").symlink_to(repository / "components" / "engines")
    (package / "__init__.py").touch()
    stages: dict[str, Any] = {
        "code": {
            "cmd": "python -m components.engines.base.fingerprint",
            "always_changed": True,
            "outs": [{f"data/code/chain-{name}.json": {"persist": True}} for name in modules],
        }
    }
    before: list[str] = []
    for name in modules:
        source = (
            f"import components.engines.training.loop\nfrom pathlib import Path\nPath('data/{name}').write_text('1')\n"
        )
        # imported by nobody at run time, seen by the fingerprint: the closure is as large as a real stage's
        (package / f"{name}.py").write_text(
            source.replace("import components", "if not __name__: import components", 1)
        )
        stages[f"chain-{name}"] = {
            "cmd": f"python -m components.chain.{name}",
            "deps": [f"data/code/chain-{name}.json", *before],
            "params": [f"chain.{name}"],
            "outs": [f"data/{name}"],
        }
        before = [f"data/{name}"]
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    sections: dict[str, Any] = {name: {"value": 1} for name in modules} | {"promote": {"metric": "exact"}}
    (root / "params.yaml").write_text(yaml.safe_dump({"chain": sections}))
    (root / ".gitignore").write_text("__pycache__/\n.work/\n/data/\n")
    for command in (
        ["git", "init", "-q"],
        [sys.executable, "-m", "dvc", "init", "-q"],
        [sys.executable, "-m", "dvc", "repro", "-q"],
    ):
        subprocess.run(command, cwd=root, check=True, capture_output=True, env=_environment())
    _judge(root)


def _judge(root: Path) -> None:
    """As after a run that went through the gate: the verdict is looked up, not made again."""
    (root / "reports/chain").mkdir(parents=True)
    (root / "reports/chain/report.html").touch()
    verdict = {"decision": "promoted", "candidate": {"version": 1}, "reasons": [], "exit_code": 0}
    write_json(_judged_path("chain", root), {"receipt": _judged_key("chain", root), "verdict": verdict})


if __name__ == "__main__":
    for result in run():
        print(
            f"{result['name']}: {result['ours']:.2f} s ÷ {result['theirs']:.2f} s = {result['ratio']:.2f} (bar ≤ {result['bar']})"
        )
