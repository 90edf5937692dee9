"""A whole little project for flow tests: git, DVC, the real stage runner and fingerprints, stages that cost nothing.

    toy-make ──┬── toy-double ──┬── toy-join (metrics)
               └── toy-square ──┘

The stages live in `components/toy` beside a copy of the base engine, so that a test may edit either without touching the
real ones. `toy.gears` is used by double and join, `toy.wheels` by square only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

FILES = {
    ".gitignore": "__pycache__/\n.work/\n/.prefect/\n/mlflow.db\n/data/toy/\n/data/code/\n",
    ".dvcignore": "__pycache__/\n",
    "params.yaml": """\
# The toy's params: comments must survive edits.
toy:
  make:
    count: 4  # how many numbers
    sleep: 0.0
    fail: none
  double:
    factor: 2
    sleep: 0.0
    fail: none
  square:
    power: 2
    sleep: 0.0
    fail: none
  join:
    label: total
    noise: 0.5
    seed: 0
""",
    "components/__init__.py": "",
    "components/engines/__init__.py": "",
    "components/toy/__init__.py": '"""A toy."""\n',
    "components/toy/gears.py": '''\
"""Arithmetic that double and join use."""


def times(numbers: list[int], factor: int) -> list[int]:
    """Each number times the factor."""
    return [number * factor for number in numbers]
''',
    "components/toy/wheels.py": '''\
"""Arithmetic that only square uses."""


def raised(numbers: list[int], power: int) -> list[int]:
    return [number**power for number in numbers]
''',
    "components/toy/params.py": '''\
"""Params of the toy's stages."""

from typing import Literal

from components.engines.base.params import Params

Failure = Literal["none", "explained", "usage", "connection", "killed", "killed-once"]


class Make(Params):
    count: int
    sleep: float
    fail: Failure


class Double(Params):
    factor: int
    sleep: float
    fail: Failure


class Square(Params):
    power: int
    sleep: float
    fail: Failure


class Join(Params):
    label: str
    noise: float
    seed: int
''',
    "components/toy/trouble.py": '''\
"""Ways to go wrong, for tests of what the flow does then."""

import os
import signal
import sys
import time
from pathlib import Path

from components.engines.base.errors import StageError, UsageError


def meet(stage: str, kind: str, sleep: float) -> None:
    """Note that the stage ran, wait, and fail as told."""
    runs = Path(".work/runs.log")
    runs.parent.mkdir(exist_ok=True)
    with runs.open("a") as file:
        file.write(f"{stage} {os.getpid()} {time.time()}\\n")
    print(f"{stage} says hello", flush=True)
    print(f"{stage} warns", file=sys.stderr, flush=True)
    try:
        time.sleep(sleep)
    except KeyboardInterrupt:
        Path(".work/interrupted.log").write_text(stage)
        raise
    if kind == "explained":
        raise StageError("The toy broke", where=stage, do="mend the toy")
    if kind == "usage":
        raise UsageError("The toy is set up wrongly", where=stage, do="correct it")
    if kind == "connection":
        raise ConnectionResetError(104, "Connection reset by peer")
    first = runs.read_text().count(f"{stage} ") == 1
    if kind == "killed" or (kind == "killed-once" and first):
        os.kill(os.getpid(), signal.SIGKILL)
''',
    "components/toy/make.py": '''\
"""Make the numbers."""

import json
from pathlib import Path

from components.engines.base.stage import main
from components.toy.params import Make
from components.toy.trouble import meet


def make(numbers: Path, params: Make) -> None:
    """Write 0 … count - 1."""
    meet("make", params.fail, params.sleep)
    numbers.write_text(json.dumps(list(range(params.count))))


if __name__ == "__main__":
    main(make)
''',
    "components/toy/double.py": '''\
"""Double the numbers."""

import json
from pathlib import Path

from components.engines.base.stage import main
from components.toy.gears import times
from components.toy.params import Double
from components.toy.trouble import meet


def double(numbers: Path, doubled: Path, params: Double) -> None:
    """Write the numbers times the factor."""
    meet("double", params.fail, params.sleep)
    doubled.write_text(json.dumps(times(json.loads(numbers.read_text()), params.factor)))


if __name__ == "__main__":
    main(double)
''',
    "components/toy/square.py": '''\
"""Square the numbers."""

import json
from pathlib import Path

from components.engines.base.stage import main
from components.toy.params import Square
from components.toy.trouble import meet
from components.toy.wheels import raised


def square(numbers: Path, squared: Path, params: Square) -> None:
    """Write the numbers to the power."""
    meet("square", params.fail, params.sleep)
    squared.mkdir()
    (squared / "part.json").write_text(json.dumps(raised(json.loads(numbers.read_text()), params.power)))


if __name__ == "__main__":
    main(square)
''',
    "components/toy/join.py": '''\
"""Add everything up."""

import json
import random
from pathlib import Path

from components.engines.base.paths import write_json
from components.engines.base.stage import main
from components.toy.gears import times
from components.toy.params import Join
from components.toy.trouble import meet


def join(doubled: Path, squared: Path, metrics: Path, params: Join) -> None:
    """Sum both branches, with a little seeded noise."""
    meet("join", "none", 0.0)
    left = sum(json.loads(doubled.read_text()))
    right = sum(json.loads((squared / "part.json").read_text()))
    noise = params.noise * random.Random(params.seed).random()
    write_json(metrics, {params.label: times([left + right], 1)[0], "noisy": left + right + noise})


if __name__ == "__main__":
    main(join)
''',
    "components/toy/comparisons.yaml": """\
bars:
  question: Does the default meet its bars?
  seeds: {keys: [toy.join.seed], values: [0, 1, 2]}
  arms:
    default: {}
  until: join
  metrics: [total, noisy]
  bars: {total: {min: 20}, noisy: {max: 1}}
factor:
  question: Does a larger factor raise the total?
  seeds: {keys: [toy.join.seed], values: [0, 1]}
  arms:
    two: {toy.double.factor: 2}
    three: {toy.double.factor: 3}
  until: join
  metrics: [total]
""",
    "dvc.yaml": """\
stages:
  code:
    cmd: python -m components.engines.base.fingerprint
    always_changed: true
    outs:
      - data/code: {persist: true}
  toy-make:
    cmd: python -m components.toy.make
    deps: [data/code/toy-make.json]
    params: [toy.make]
    outs: [data/toy/numbers.json]
  toy-double:
    cmd: python -m components.toy.double
    deps: [data/code/toy-double.json, data/toy/numbers.json]
    params: [toy.double]
    outs: [data/toy/doubled.json]
  toy-square:
    cmd: python -m components.toy.square
    deps: [data/code/toy-square.json, data/toy/numbers.json]
    params: [toy.square]
    outs: [data/toy/squared]
  toy-join:
    cmd: python -m components.toy.join
    deps: [data/code/toy-join.json, data/toy/doubled.json, data/toy/squared]
    params: [toy.join]
    metrics:
      - reports/toy/metrics.json: {cache: false}
""",
}


def make_toy_project(root: Path) -> Path:
    """Write the project into `root` (made if missing), with git and DVC set up and everything committed."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for engine in ("base", "tracking"):
        folder = Path("components/engines") / engine
        shutil.copytree(REPOSITORY / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for command in (
        ["git", "init", "-q", "-b", "main"],
        ["git", "config", "user.email", "toy@example.org"],
        ["git", "config", "user.name", "Toy"],
        [sys.executable, "-m", "dvc", "init", "-q"],
        ["git", "add", "-A"],
        ["git", "commit", "-q", "-m", "A toy"],
    ):
        subprocess.run(command, cwd=root, check=True, env=quiet_environment())
    return root


def quiet_environment(**more: str) -> dict[str, str]:
    """This environment with our interpreter first on PATH, telemetry off, no colours."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "1", "NO_COLOR": "1", "DO_NOT_TRACK": "1"} | more


def dvc(root: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run DVC in the project; stdout and stderr as text."""
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        check=check,
        capture_output=True,
        text=True,
        env=quiet_environment(),
    )


def genworks(root: Path, *arguments: str, timeout: float = 240, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command in the project as a user would; never raises for its exit code."""
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=quiet_environment(**env),
        check=False,
    )


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def runs_of(root: Path) -> list[str]:
    """Names of the stages that really ran since the log was last cleared, in order."""
    log = root / ".work/runs.log"
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def clear_runs(root: Path) -> None:
    (root / ".work/runs.log").unlink(missing_ok=True)
