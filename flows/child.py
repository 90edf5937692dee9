"""`python -m flows.child MODULE ARGUMENT…`: run a Python module as a process that ends with the one that started it.

Stages and servers are started through here, so that `kill -9` of a flow leaves nothing running. Each child leads a process
group of its own: Ctrl-C in a terminal reaches the flow alone, which then ends its children in order.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from components.engines.base.loopback import reach_directly

GRACE_SECONDS = 10.0
STAGE_GRACE_SECONDS = 60.0  # a training loop finishes its step and writes a checkpoint
PARENT_POLL_SECONDS = 0.2
LONGEST_RAY_TMPDIR = (
    107 - 67
)  # bytes: a socket's path ends at 107, and Ray adds /ray/session_<date>_<pid>/sockets/plasma_store


def main() -> None:
    parent = int(os.environ.pop("GENWORKS_PARENT"))
    threading.Thread(target=_end_with, args=(parent,), name="parent-watch", daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with(parent: int) -> None:
    """Kill this process's whole group, servers' own workers included, once the parent is gone."""
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_SECONDS)
    os.killpg(0, signal.SIGKILL)


@dataclass(frozen=True)
class Farewell:
    """How a child is asked to end, and how long it may take."""

    sign: signal.Signals = signal.SIGTERM
    seconds: float = GRACE_SECONDS


# DVC dies of SIGTERM, and its stage with it. At SIGINT it waits for its stage, which saves what it has.
OF_STAGES = Farewell(signal.SIGINT, STAGE_GRACE_SECONDS)


class Children:
    """The child processes of this one, so that all of them can be ended together."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal may arrive inside
        self._running: dict[subprocess.Popen[Any], Farewell] = {}
        self.stopped = False

    def start(
        self,
        arguments: list[str],
        *,
        cwd: Path,
        env: dict[str, str],
        output: int | IO[Any] = subprocess.PIPE,
        farewell: Farewell | None = None,
    ) -> subprocess.Popen[str]:
        """Start `python -m ARGUMENTS` with stdout and stderr in one stream of text lines."""
        with self._lock:
            if self.stopped:
                raise KeyboardInterrupt
            process = subprocess.Popen(
                [sys.executable, "-m", "flows.child", *arguments],
                cwd=cwd,
                env=env | {"GENWORKS_PARENT": str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
            self._running[process] = farewell or Farewell()
        return process

    def forget(self, process: subprocess.Popen[Any]) -> None:
        with self._lock:
            self._running.pop(process, None)

    def stop(self, process: subprocess.Popen[Any], at_most: float | None = None) -> None:
        """End one child and its group: ask first, insist after a while (of `at_most` seconds)."""
        farewell = self._ask(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(farewell.seconds if at_most is None else min(at_most, farewell.seconds))
        end_group(process, signal.SIGKILL)  # also what the child itself left behind in its group
        process.wait()
        self.forget(process)

    def stop_all(self, at_most: float | None = None) -> None:
        """End every child and refuse to start another; see `stop`."""
        with self._lock:
            self.stopped = True
            running = list(self._running)
        with ThreadPoolExecutor(len(running) or 1) as pool:
            list(pool.map(lambda process: self.stop(process, at_most), running))

    def _ask(self, process: subprocess.Popen[Any]) -> Farewell:
        with self._lock:
            farewell = self._running.get(process, Farewell())
        end_group(process, farewell.sign)
        return farewell


def end_group(process: subprocess.Popen[Any], sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone; macOS says EPERM for a group of zombies
        os.killpg(process.pid, sign)


def python_environment() -> dict[str, str]:
    """The environment of a child: this Python first on PATH (commands in dvc.yaml say `python`), telemetry off.

    Loopback never goes through a proxy, and the login of our Prefect server is only for those that talk to it.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    quiet = {"DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_AUTH_STRING"}
    environment |= quiet | {"PATH": path}
    reach_directly(environment)
    if sys.platform == "linux" and len(os.fsencode(environment.get("TMPDIR", ""))) > LONGEST_RAY_TMPDIR:
        environment.setdefault("RAY_TMPDIR", "/tmp")
    return environment


if __name__ == "__main__":
    main()
