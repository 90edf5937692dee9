"""The loading check of the gate: does this version load and answer in a clean process, the same, fast and small enough?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.engines.tracking import loadcheck
from components.engines.tracking.store import Store

TIMEOUT_SECONDS = 900


@dataclass(frozen=True)
class Loading:
    """What the clean process saw. `problem` is why it cannot be trusted, None if it can."""

    problem: str | None
    latency_ms: float | None = None  # median of one call on the golden inputs
    memory_mb: float | None = None  # peak of the whole process, Python and MLflow included
    load_s: float | None = None

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
    """Load `model_uri` in a fresh interpreter that knows nothing of this repository, and judge what it reports."""
    program = Path(loadcheck.__file__)
    command = [sys.executable, "-P", str(program), "--model-uri", model_uri, "--golden", str(golden.resolve())]
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONSTARTUP"}}
    environment |= {
        "MLFLOW_TRACKING_URI": store.tracking,
        "MLFLOW_REGISTRY_URI": store.registry,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    with tempfile.TemporaryDirectory(prefix="genworks-load-") as elsewhere:
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
            return Loading(f"it did not load and answer within {TIMEOUT_SECONDS} s")
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        return Loading(f"it does not load or predict in a clean process: {lines[-1] if lines else done.returncode}")
    return _judge(json.loads(done.stdout), max_latency_ms, max_memory_mb)


def _judge(seen: dict[str, Any], max_latency_ms: float | None, max_memory_mb: float | None) -> Loading:
    problems = []
    if seen["foreign"]:
        problems.append(f"it needs code that is not in it: {', '.join(seen['foreign'][:5])}")
    if seen["pickled"]:
        problems.append(f"loading it unpickles objects: {', '.join(seen['pickled'][:5])}")
    if seen["difference"]:
        problems.append(f"it answers otherwise than when it was registered: {seen['difference']}")
    if max_latency_ms is not None and seen["latency_ms"] > max_latency_ms:
        problems.append(f"latency {seen['latency_ms']:.0f} ms is over the budget of {max_latency_ms:g} ms")
    if max_memory_mb is not None and seen["memory_mb"] > max_memory_mb:
        problems.append(f"memory {seen['memory_mb']:.0f} MB is over the budget of {max_memory_mb:g} MB")
    return Loading("; ".join(problems) or None, seen["latency_ms"], seen["memory_mb"], seen["load_s"])
