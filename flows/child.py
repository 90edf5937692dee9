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
from pathlib import Path
from typing import IO, Any

GRACE_SECONDS = 10.0
PARENT_POLL_SECONDS = 0.2


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


class Children:
    """The child processes of this one, so that all of them can be ended together."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal may arrive inside
        self._running: set[subprocess.Popen[Any]] = set()
        self.stopped = False

    def start(
        self, arguments: list[str], *, cwd: Path, env: dict[str, str], output: int | IO[Any] = subprocess.PIPE
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
            self._running.add(process)
        return process

    def forget(self, process: subprocess.Popen[Any]) -> None:
        with self._lock:
            self._running.discard(process)

    def stop(self, process: subprocess.Popen[Any]) -> None:
        """End one child and its group: ask first, insist after a while."""
        end_group(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        end_group(process, signal.SIGKILL)  # also what the child itself left behind in its group
        process.wait()
        self.forget(process)

    def stop_all(self) -> None:
        """End every child and refuse to start another."""
        with self._lock:
            self.stopped = True
            running = list(self._running)
        for process in running:
            end_group(process, signal.SIGTERM)
        for process in running:
            self.stop(process)


def end_group(process: subprocess.Popen[Any], sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone; macOS says EPERM for a group of zombies
        os.killpg(process.pid, sign)


def python_environment() -> dict[str, str]:
    """The environment of a child: this Python first on PATH (commands in dvc.yaml say `python`), telemetry off."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    quiet = {"DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
    return os.environ | quiet | {"PATH": path}


if __name__ == "__main__":
    main()
