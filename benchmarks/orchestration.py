"""What our orchestration adds to DVC: a run with nothing to do, against `dvc status` of the same project.

Two made-up projects with everything up to date: one as large as this one, one as it would be with four times the stages. Every
stage can reach a real stage's engines and a part of its room. Both commands are whole processes; CPU seconds, which neighbours
on the machine disturb less than the clock.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from components.engines.base.paths import write_json
from flows.promote import _judged_key, _judged_path

REPOSITORY = Path(__file__).resolve().parents[1]
REPEATS = 11
PARTS_OF_STAGE = 12  # modules of its room that a stage imports
# stages, modules of the project, and how much of `dvc status` a run with nothing to do may cost
SIZES = [(36, 350, 1.2), (150, 700, 1.3)]


def run(repeats: int = REPEATS) -> list[dict[str, Any]]:
    """`[{name, ours, theirs, ratio, bar}]`, CPU seconds, medians; the two commands take turns."""
    return [_row(stages, modules, bar, max(repeats, REPEATS)) for stages, modules, bar in SIZES]


def _row(stages: int, modules: int, bar: float, repeats: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="genworks-bench-") as folder:
        root = Path(folder)
        make(root, stages, modules)
        commands = {
            "ours": [sys.executable, "-m", "flows.cli", "run", "--all"],
            "theirs": [sys.executable, "-m", "dvc", "status"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(repeats + 1):
            for name, command in commands.items():
                seconds = _timed(command, root)
                if turn:  # the first one reads everything from disk, and compiles it
                    times[name].append(seconds)
    ours, theirs = (statistics.median(times[name]) for name in ("ours", "theirs"))
    name = f"run with nothing to do ÷ dvc status ({stages} stages, {modules} modules), CPU"
    return {"name": name, "ours": ours, "theirs": theirs, "ratio": ours / theirs, "bar": bar}


def _timed(command: list[str], root: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True, env=_environment())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "flows.cli" not in command or "Nothing to do" in done.stdout, done.stdout
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PATH": path, "PYTHONPATH": str(REPOSITORY), "DVC_NO_ANALYTICS": "1"}


def make(root: Path, stages: int, modules: int) -> None:
    """Rooms of twelve stages, one behind the other, all recorded as done. The engines are this repository's."""
    (root / "components").mkdir(parents=True)
    (root / "components/__init__.py").touch()
    shutil.copytree(
        REPOSITORY / "components/engines", root / "components/engines"
    )  # not a link: they may be edited now
    rooms = stages // 12 + bool(stages % 12)
    engines = sum(1 for _ in (REPOSITORY / "components/engines").rglob("*.py"))
    parts = max(PARTS_OF_STAGE, (modules - engines - stages) // rooms)
    names = [
        f"room{number // 12}-{'register' if number % 12 == 11 else f'step{number % 12}'}" for number in range(stages)
    ]
    blocks: dict[str, Any] = {
        "code": {
            "cmd": "python -m components.engines.base.fingerprint",
            "always_changed": True,
            "outs": [{f"data/code/{name}.json": {"persist": True}} for name in names],
        }
    }
    params: dict[str, Any] = {}
    for number, name in enumerate(names):
        room, step = name.split("-")
        if room not in params:
            _make_room(root / "components" / room, parts)
            params[room] = {"promote": {"metric": "exact", "tolerance": 0.05}}
        _write_stage(root / "components" / room / f"{step}.py", room, number, parts)
        params[room][step] = {"value": number, "more": {"size": 3, "rate": 0.5, "words": ["a", "b"]}}
        before = [f"data/{names[number - 1]}"] if number % 12 else []
        blocks[name] = {
            "cmd": f"python -m components.{room}.{step}",
            "deps": [f"data/code/{name}.json", *before],
            "params": [f"{room}.{step}"],
            "outs": [f"data/{name}"],
        }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": blocks}, sort_keys=False))
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / ".gitignore").write_text("__pycache__/\n.work/\n/data/\n")
    (root / "data").mkdir()
    for name in names:
        (root / "data" / name).write_text(name)
    for command in (
        ["git", "init", "-q"],
        [sys.executable, "-m", "dvc", "init", "-q"],
        [sys.executable, "-m", "components.engines.base.fingerprint"],
        [sys.executable, "-m", "dvc", "commit", "-f", "-q"],
    ):
        subprocess.run(command, cwd=root, check=True, capture_output=True, env=_environment())
    for room in params:
        if f"{room}-register" in names:
            _judge(root, room)


def _make_room(folder: Path, parts: int) -> None:
    folder.mkdir()
    (folder / "__init__.py").touch()
    for number in range(parts):
        source = f"from components.engines.base.paths import read_json\n\nSIZE = {number}\n"
        for name in "abcdef":
            source += f"\n\ndef {name}(x):\n    y = read_json(x)\n    return [y, SIZE, {number}]\n"
        (folder / f"part{number}.py").write_text(source)


def _write_stage(path: Path, room: str, number: int, parts: int) -> None:
    """It reaches the stage runner and the training engine, as a training stage does, and parts of its room."""
    used = [(number * 5 + offset) % parts for offset in range(PARTS_OF_STAGE)]
    imports = "".join(
        f"    from components.{room}.part{one} import a as a{one}, b as b{one}\n" for one in dict.fromkeys(used)
    )
    calls = ", ".join(f"a{one}, b{one}" for one in dict.fromkeys(used))
    path.write_text(
        "from components.engines.base import stage\n\n\n"
        f"def {path.stem}(params):\n"
        "    from components.engines.training.launch import launch\n"
        f"{imports}"
        f"    return launch, {calls}\n\n\n"
        f"if __name__ == '__main__':\n    stage.main({path.stem})\n"
    )


def _judge(root: Path, room: str) -> None:
    """As after a run that went through the gate: the verdict is looked up, not made again."""
    (root / "reports" / room).mkdir(parents=True)
    (root / "reports" / room / "report.html").touch()
    verdict = {"decision": "would promote", "candidate": {"version": 1}, "reasons": [], "exit_code": 0}
    write_json(_judged_path(room, root), {"receipt": _judged_key(room, root), "champion": None, "verdict": verdict})


if __name__ == "__main__":
    for result in run():
        ours, theirs = (f"{result[side]:.2f} s" for side in ("ours", "theirs"))
        print(f"{result['name']}: {ours} ÷ {theirs} = {result['ratio']:.2f} (bar ≤ {result['bar']})")
