"""What `genworks up` leaves in `.prefect` while it stands: a lock that only it holds, its addresses, and the login."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.engines.base.errors import UsageError
from components.engines.base.paths import write_json
from components.engines.base.work import locked

HOME = Path(".prefect")
ADDRESS_FILE = HOME / "server.json"
LOGIN_FILE = HOME / "login"  # `user:password`, new at each start
_LOCK = HOME / "up.lock"


@dataclass(frozen=True)
class Standing:
    """The servers of a running `genworks up`."""

    prefect_api: str
    mlflow: str
    login: str


def new_login() -> str:
    return f"genworks:{secrets.token_urlsafe(24)}"


@contextlib.contextmanager
def claimed(root: Path) -> Iterator[str]:
    """Be the project's one `genworks up`; yields the login, which stands in LOGIN_FILE meanwhile.

    Raises UsageError if another one stands, and leaves everything of it alone.
    """
    (root / HOME).mkdir(exist_ok=True)
    descriptor = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = standing(root)
            where = f"{found.prefect_api.removesuffix('/api')} and {found.mlflow}" if found else str(root)
            raise UsageError(
                "genworks up runs here already", where=where, do="use that one, or stop it first"
            ) from None
        login = new_login()
        _write_private(root / LOGIN_FILE, login)
        try:
            yield login
        finally:
            for name in (ADDRESS_FILE, LOGIN_FILE):
                (root / name).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def note(root: Path, prefect_api: str, mlflow: str) -> None:
    write_json(root / ADDRESS_FILE, {"prefect_api": prefect_api, "mlflow": mlflow})


def standing(root: Path) -> Standing | None:
    """The servers that `genworks up` runs for this project now; None where only the files of a killed one are left."""
    if not locked(root / _LOCK):
        return None
    try:
        told = json.loads((root / ADDRESS_FILE).read_text(encoding="utf-8"))
        return Standing(told["prefect_api"], told["mlflow"], (root / LOGIN_FILE).read_text(encoding="utf-8").strip())
    except (OSError, ValueError, KeyError):  # it is starting, or belongs to somebody else
        return None


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)  # whatever its mode was
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
