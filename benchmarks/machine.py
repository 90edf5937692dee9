"""Where and with what a benchmark ran: goes into every result beside its figures."""

from __future__ import annotations

import platform
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LIBRARIES = (
    "torch",
    "transformers",
    "diffusers",
    "datasets",
    "lightning",
    "accelerate",
    "webdataset",
    "ray",
    "dvc",
    "prefect",
    "trl",
)


def describe() -> dict[str, Any]:
    return {
        "versions": {library: version(library) for library in LIBRARIES if find_spec(library) is not None},
        "machine": {"python": platform.python_version(), "processor": _processor(), "system": platform.platform()},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
