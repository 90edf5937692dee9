"""Addresses of tracking stores: how they are written, checked, and shown without what is secret in them."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, unquote

from components.engines.base.errors import UsageError

_SQLITE = "sqlite:///"


def project_database(root: Path) -> str:
    """The URI of the project's own SQLite. Raises UsageError for a path that no such URI can hold."""
    if "?" in str(root) or unquote(str(root)) != str(root):
        raise UsageError(
            "A project cannot lie below a folder with a question mark or a % code (like %41) in its name: MLflow would take "
            "another path for it",
            where=str(root),
            do="rename that folder",
        )
    return f"{_SQLITE}{root / 'mlflow.db'}"


def project_artifacts(root: Path) -> str:
    """Where the project keeps artifacts: a path, or its URI where MLflow would read the path's own signs as escapes."""
    folder = root / "mlartifacts"
    return str(folder) if quote(str(folder)) == str(folder) else folder.as_uri()


def database_file(uri: str) -> Path | None:
    """The file of an SQLite URI, None for any other store."""
    return Path(uri.removeprefix(_SQLITE).split("?")[0]) if uri.startswith(_SQLITE) else None


def local_path(place: str) -> Path | None:
    """The path of an artifact location on this machine, None for one elsewhere."""
    if place.startswith("file://"):
        return Path(unquote(place.removeprefix("file://")))
    return None if "://" in place or place.startswith("mlflow-artifacts:") else Path(place)


def exists(uri: str) -> bool:
    """False only for an SQLite file that is not there yet: opening it would create it."""
    file = database_file(uri)
    return file is None or file.exists()


def checked(uri: str, variable: str) -> str:
    """The URI with the driver that is installed. Raises UsageError, without repeating it, if its password is ambiguous."""
    scheme, separator, rest = uri.partition("://")
    if separator and scheme != "sqlite" and (rest.split("?")[0].count("@") > 1 or _LOOSE_LOGIN.match(rest)):
        raise UsageError(
            f"The address in {variable} cannot be read: a sign in its user name or password means something in addresses",
            where=variable,
            do="write @ as %40, / as %2F, # as %23, ? as %3F and : as %3A there",
        )
    # SQLAlchemy 2.1 takes a plain `postgresql://` for psycopg 3
    if scheme in {"postgresql", "postgres"} and find_spec("psycopg") is None and find_spec("psycopg2") is not None:
        return f"postgresql+psycopg2{separator}{rest}"
    return uri


_LOOSE_LOGIN = re.compile(r"[^/@?#]*:[^/@]*[/?#][^@]*@")  # user:p/w@, user:p#w@, user:p?w@


def shown(uri: str) -> str:
    """A URI fit for messages and tags: no user name, password, query or fragment."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme in {"sqlite", "file"}:
        return uri.split("?", maxsplit=1)[0]
    return f"{scheme}{separator}{re.split('[?#]', rest.rpartition('@')[2])[0]}"


def hidden(text: str, *uris: str) -> str:
    """A message without the logins of `uris`, whole or in part, as they are written or decoded."""
    for uri in uris:
        text = text.replace(uri, shown(uri))
        login = uri.partition("://")[2].rpartition("@")[0]
        secret = login.partition(":")[2]
        for word in {login, secret, unquote(secret)} - {""}:
            text = text.replace(word, "***")
    return re.sub(r"//[^/@\s]*@", "//", text)
