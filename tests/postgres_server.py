"""A PostgreSQL of the test's own, on a free localhost port, gone with the test.

    with postgres_server() as server:
        mlflow_uri = server.url("mlflow")                                   # the database is created on first mention
        prefect_uri = server.url("prefect", driver="postgresql+asyncpg")

The server's files lie in a short folder of their own under /tmp: a unix socket's path may be 107 bytes at most, and
pytest's temporary folders are closed to the unprivileged user that the server must run as when the tests run as root
(initdb and postgres refuse root). Where the binaries are missing the test is skipped and says so.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

START_SECONDS = 30.0


@dataclass(frozen=True)
class PostgresServer:
    """A running server: superuser `genworks`, password authentication on 127.0.0.1."""

    port: int
    password: str

    def url(self, database: str, driver: str = "postgresql+psycopg2") -> str:
        """The SQLAlchemy URL of `database`, which is created when it is not there yet."""
        import psycopg2
        from psycopg2 import sql

        connection = psycopg2.connect(self._url("postgres", "postgresql"))
        try:
            connection.autocommit = True  # CREATE DATABASE cannot run inside a transaction
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        finally:
            connection.close()
        return self._url(database, driver)

    def _url(self, database: str, driver: str) -> str:
        return f"{driver}://genworks:{self.password}@127.0.0.1:{self.port}/{database}"


def postgres_binaries() -> Path | None:
    """The folder that holds initdb and postgres: `pg_config --bindir`, else Debian's versioned folders, newest first."""
    folders = []
    if shutil.which("pg_config"):
        said = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=False).stdout.strip()
        folders.append(Path(said))
    versioned = [folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if folder.parent.name.isdigit()]
    folders += sorted(versioned, key=lambda folder: -int(folder.parent.name))
    return next((f for f in folders if (f / "initdb").is_file() and (f / "postgres").is_file()), None)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a fresh server, yield it, stop it and remove its files. Skips the test without PostgreSQL's binaries."""
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server binaries (initdb, postgres) are not installed")
    owner = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="gw-pg-", dir="/tmp"))
    process = None
    try:
        if "user" in owner:
            os.chown(folder, owner["user"], owner["group"])
        password = secrets.token_hex(16)
        _initialise(binaries, folder, password, owner)
        process, server = _start(binaries, folder, password, owner)
        yield server
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # PostgreSQL's "fast" shutdown: ends open sessions, flushes, exits
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> dict[str, Any]:
    """Popen's arguments that leave root for `postgres` or `nobody`; nothing to leave for anybody else."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    pytest.skip("running as root, and there is neither a user postgres nor nobody to run the server as")


def _initialise(binaries: Path, folder: Path, password: str, owner: dict[str, Any]) -> None:
    secret = folder / "password"
    secret.write_text(password, encoding="utf-8")
    secret.chmod(0o600)
    if "user" in owner:
        os.chown(secret, owner["user"], owner["group"])
    command: list[Any] = [binaries / "initdb", "-D", folder / "data", "-U", "genworks", "--pwfile", secret]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder, env=_environment(folder), **owner)
    secret.unlink()


def _start(
    binaries: Path, folder: Path, password: str, owner: dict[str, Any]
) -> tuple[subprocess.Popen[bytes], PostgresServer]:
    """Start on a free port; another process may take it first, so try a few."""
    for _ in range(5):
        port = _free_port()
        # A killed test run must not leave servers behind; setpriv execs, so the process stays the server's own.
        command: list[Any] = ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []
        command += [binaries / "postgres", "-D", folder / "data", "-p", str(port), "-k", folder]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=100"]
        with (folder / "server.log").open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=_environment(folder), **owner
            )
        server = PostgresServer(port, password)
        if _answers(process, server):
            return process, server
        process.kill()
        process.wait()
    raise RuntimeError("PostgreSQL did not start:\n" + (folder / "server.log").read_text(errors="replace"))


def _answers(process: subprocess.Popen[bytes], server: PostgresServer) -> bool:
    import psycopg2

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            psycopg2.connect(server._url("postgres", "postgresql"), connect_timeout=2).close()
            return True
        except psycopg2.OperationalError:
            time.sleep(0.1)
    return False


def _environment(folder: Path) -> dict[str, str]:
    """Only what the server needs: a PGDATA or PGPORT of the machine must not reach it."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LC_ALL": "C"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
