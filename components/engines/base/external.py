"""What a stage's params point at outside the DAG, where DVC cannot see it change: sources, pictures, checkpoints.

The reader of a source says what it reads: a module of the stage (its own, or one it imports) that defines

    external_inputs(section: dict, root: Path, digests: Digests) -> {key: [Input, …]}

is asked about every params section of the stage that names a source. Whatever else names a path that exists, or a URL, is taken
as a whole. Local files are digested by their bytes, remote ones by what their store tells of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.engines.base.credentials import hide_credentials, refuse_credentials
from components.engines.base.digests import Digests
from components.engines.base.errors import GenworksError, UsageError
from components.engines.base.paths import digest_value, files_of

EXTERNAL_KEYS = ("source", "images", "clips", "init_from")
UNREACHABLE = "unreachable: "
SAMPLE = "sample"
# How the stores of fsspec call what changes with a file's content (S3, GCS, Azure, HTTP, hub), and where none does, its time.
_TAGS = ("ETag", "etag", "md5Hash", "content_md5", "Content-MD5", "Digest", "blob_id", "sha")
_TIMES = ("mtime", "LastModified", "last_modified", "Last-Modified", "created", "updated")


@dataclass(frozen=True)
class Input:
    """One file that a stage reads: a local one, or a remote one by the state its store tells."""

    name: str
    file: Path | None = None
    state: str = ""


def external_inputs(
    root: Path, block: dict[str, Any], params: dict[str, Any], readers: list[str], digests: Digests
) -> dict[str, str]:
    """Digests by dotted key; `unreachable: …` for a remote that does not answer. `readers` are the modules that the stage loads
    and that define `external_inputs`."""
    found: dict[str, str] = {}
    for entry in block.get("params") or []:
        if isinstance(entry, str):
            node: Any = params
            for part in entry.split("."):
                node = node.get(part) if isinstance(node, dict) else None
            try:
                refuse_credentials(node, entry)
            except UsageError:  # the stage says so; nobody is asked for what stands there, and no message repeats it
                found[entry] = "refused: a URL holds a credential"
                continue
            _collect(entry, node, root, digests, found)
            if isinstance(node, dict) and isinstance(node.get("source"), str) and node["source"] != SAMPLE:
                for reader in readers:
                    _ask(reader, entry, node, root, digests, found)
    return dict(sorted(found.items()))


def _collect(key: str, node: Any, root: Path, digests: Digests, found: dict[str, str]) -> None:
    if isinstance(node, list):
        node = dict(enumerate(node))
    if isinstance(node, dict):
        for name, child in node.items():
            _collect(f"{key}.{name}", child, root, digests, found)
    elif isinstance(node, str) and (state := external_state(node, root, key.rsplit(".", maxsplit=1)[-1], digests)):
        found[key] = state


def _ask(reader: str, key: str, section: dict[str, Any], root: Path, digests: Digests, found: dict[str, str]) -> None:
    """What the reader says it reads takes the place of what a path's name alone says."""
    try:
        for name, inputs in importlib.import_module(reader).external_inputs(section, root, digests).items():
            found[f"{key}.{name}"] = state_of(inputs, digests)
    except UsageError as error:  # the stage refuses it, with this message
        found[f"{key}.source"] = f"refused: {error.what}"
    except ValidationError:
        found[f"{key}.source"] = "refused: bad params"
    except GenworksError as error:
        found[f"{key}.source"] = UNREACHABLE + hide_credentials(error.what)


def state_of(inputs: Iterable[Input], digests: Digests) -> str:
    listed = list(inputs)
    local = [(one.name, one.file) for one in listed if one.file is not None]
    contents = digests.of_files(digest_value([str(file) for _, file in local]), local) if local else {}
    return digest_value([[one.name, contents.get(one.name, one.state)] for one in listed])


def external_state(value: str, root: Path, key: str = "source", digests: Digests | None = None) -> str | None:
    """A digest of what a value of params names: content of a path, state of a URL; None for what names nothing.

    Under a key of EXTERNAL_KEYS globs and bare names count too; elsewhere a name must have a `/` or be a file's, or any word
    that happens to be a folder here would be one.
    """
    digests = digests or Digests(root, keep=False)
    named = key in EXTERNAL_KEYS
    if "://" in value:
        return _url_state(value)
    if named and any(sign in value for sign in "*?["):
        base = root if not Path(value).is_absolute() else Path("/")
        matches = sorted(base.glob(value.lstrip("/")))
        return (
            state_of((Input(f"{p.name}/{n}", f) for p in matches for n, f in files_of(p)), digests) if matches else None
        )
    try:
        path = root / value  # an absolute one stays as it is
        exists = bool(value) and (path.exists() if named or "/" in value else path.is_file())
    except (OSError, ValueError):  # a text too long or too odd to be a name
        return None
    return digests.of(path) if exists else None


def _url_state(url: str) -> str | None:
    if url.startswith("hf://"):
        return None  # pinned by its commit, which is part of the name
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(url)
        filesystem.invalidate_cache()
        if url.startswith(("http://", "https://")) or filesystem.isfile(path):
            return digest_value(version_of(filesystem.info(path)))
        listed = filesystem.glob(path) if any(sign in path for sign in "*?[") else filesystem.find(path)
        return digest_value([[name, version_of(filesystem.info(name))] for name in sorted(listed)])
    except Exception as error:  # the stores' own error kinds have no common base
        return f"{UNREACHABLE}{type(error).__name__}"


def version_of(info: dict[str, Any]) -> dict[str, str]:
    """Of what a store tells about a file, what changes with its content. Times are told in too many ways where tags are there."""
    tags = [name for name in _TAGS if info.get(name)]
    return {name: str(info[name]) for name in ("size", *(tags or _TIMES)) if info.get(name) is not None}
