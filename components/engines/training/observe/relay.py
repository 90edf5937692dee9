"""Worker log lines on the driver's log, through a file: Ray's own forwarding would mix them with Ray's chatter."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from components.engines.base.paths import remove

log = logging.getLogger("genworks")

SECONDS_BETWEEN_LOOKS = 0.5


def write_log_to(path: Path) -> None:
    """In the worker: every line of the genworks log also goes to this file."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(levelno)d %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


@contextmanager
def relayed(path: Path) -> Iterator[None]:
    """In the driver: lines that appear in the file are logged here, until the block ends; then the file goes."""
    remove(path)
    path.touch()
    ended = threading.Event()
    with path.open(encoding="utf-8") as file:
        reader = threading.Thread(target=_follow, args=(file, ended), name="worker-log", daemon=True)
        reader.start()
        try:
            yield
        finally:
            ended.set()
            reader.join()
            remove(path)


def _follow(file: TextIO, ended: threading.Event) -> None:
    rest = ""
    while True:
        over = ended.wait(SECONDS_BETWEEN_LOOKS)
        *lines, rest = (rest + file.read()).split("\n")
        for line in lines:
            level, _, message = line.partition(" ")
            if level.isdigit():
                log.log(int(level), "%s", message)
            else:  # a further line of the message before
                log.info("%s", line)
        if over:
            return
