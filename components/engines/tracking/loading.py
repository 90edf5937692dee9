"""The loading check of the gate: does this version load and answer in a clean process, the same, fast and small enough?"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.engines.tracking import loadcheck
from components.engines.tracking.scratch import scratch
from components.engines.tracking.store import Store
from components.engines.tracking.stored import DamagedVersion, packed_folder
from components.engines.tracking.versions import version

TIMEOUT_SECONDS = 900


@dataclass(frozen=True)
class Loading:
    """What the clean process saw. `problem` is why it cannot be trusted, None if it can."""

    problem: str | None
    latency_ms: float | None = (
        None  # one call on the golden inputs, the fastest of several, without waiting for a processor
    )
    memory_mb: float | None = None  # peak of the whole process, Python and MLflow included
    load_s: float | None = None
    wall_ms: float | None = None  # that call by the clock
    cpu_ms: float | None = None  # what all threads worked for it
    over_budget: bool = False  # too slow or too large, and nothing else

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_loading(
    store: Store,
    model_uri: str,
    golden: Path,
    *,
    max_latency_ms: float | None = None,
    max_memory_mb: float | None = None,
    repeats: int = 5,
) -> Loading:
    """Load `model_uri` (`models:/NAME/VERSION`) in a fresh interpreter that knows nothing of this repository, and judge
    what it reports. Nothing of it is loaded or executed if a file is not the one that was registered.

    Over a budget it gets a second try: what is too slow or too large by accident is not so twice.
    """
    _, name, which = model_uri.split("/")
    with scratch(store.root, "load") as elsewhere:
        try:
            packed = packed_folder(store.root, version(store.root, name, which), elsewhere / "model", copy=False)
        except DamagedVersion as error:
            return Loading(error.what)
        found = _judge(_look(store, packed, golden, repeats, elsewhere), max_latency_ms, max_memory_mb)
        if found.over_budget:
            found = _judge(_look(store, packed, golden, repeats, elsewhere), max_latency_ms, max_memory_mb)
    return found


def _look(store: Store, packed: Path, golden: Path, repeats: int, elsewhere: Path) -> dict[str, Any]:
    """What the clean process reports; `{"failed": why}` if it reports nothing."""
    program = Path(loadcheck.__file__)
    command = [
        sys.executable,
        "-P",
        str(program),
        "--model-uri",
        packed.resolve().as_uri(),
        "--golden",
        str(golden.resolve()),
    ]
    environment = store.environment()
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as stages: see base/stage.py
    try:
        done = subprocess.run(
            [*command, "--repeats", str(repeats)],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"it did not load and answer within {TIMEOUT_SECONDS} s"}
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        return {"failed": f"it does not load or predict in a clean process: {lines[-1] if lines else done.returncode}"}
    return json.loads(done.stdout)


def _judge(seen: dict[str, Any], max_latency_ms: float | None, max_memory_mb: float | None) -> Loading:
    if "failed" in seen:
        return Loading(seen["failed"])
    wrong, over = [], []
    if seen["foreign"]:
        wrong.append(f"it needs code that is not in it: {', '.join(seen['foreign'][:5])}")
    if seen["pickled"]:
        wrong.append(f"loading it unpickles objects: {', '.join(seen['pickled'][:5])}")
    if seen["difference"]:
        wrong.append(f"it answers otherwise than when it was registered: {seen['difference']}")
    if max_latency_ms is not None and seen["latency_ms"] > max_latency_ms:
        over.append(f"latency {seen['latency_ms']:.0f} ms is over the budget of {max_latency_ms:g} ms")
    if max_memory_mb is not None and seen["memory_mb"] > max_memory_mb:
        over.append(f"memory {seen['memory_mb']:.0f} MB is over the budget of {max_memory_mb:g} MB")
    return Loading(
        "; ".join([*wrong, *over]) or None,
        seen["latency_ms"],
        seen["memory_mb"],
        seen["load_s"],
        seen["wall_ms"],
        seen["cpu_ms"],
        over_budget=bool(over) and not wrong,
    )
