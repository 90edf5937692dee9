"""Project paths, and outputs that appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError


def project_root(start: Path | None = None) -> Path:
    """The nearest folder upwards that holds dvc.yaml and params.yaml. Raises UsageError outside a project."""
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
            return folder
    raise UsageError("Not inside a genworks project (no dvc.yaml with params.yaml)", where=str(start), do="cd into one")


def remove(path: Path) -> None:
    """Delete a file, a folder or a link; a missing path is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def temporary_sibling(path: Path) -> Path:
    """Where `path` is written before it is whole: same folder (so that the rename is atomic), fixed name."""
    return path.with_name(f".{path.name}.partial")


def publish(partial: Path, path: Path) -> None:
    """Rename a finished file or folder into place, replacing what was there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    os.replace(partial, path)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling (a path, not yet existing); on success it replaces `path`, on failure it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = temporary_sibling(path)
    remove(partial)
    try:
        yield partial
        publish(partial, path)
    except BaseException:
        remove(partial)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: sorted keys, two spaces, final newline, so that equal values are equal bytes."""
    with atomic_write(path) as partial:
        partial.write_text(dump_json(value), encoding="utf-8")


def dump_json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_jsonl(path: Path, rows: Any) -> int:
    """Write one compact JSON object a line, atomically, keys in the order given; how many they are."""
    count = 0
    with atomic_write(path) as partial, partial.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json_line(row))
            count += 1
    return count


def json_line(row: Any) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return list(each_of_jsonl(path))


def each_of_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """One after the other, for a file that may be larger than memory."""
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())


def digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(path: Path) -> Iterator[tuple[str, Path]]:
    """A file under its own name, or every file of a folder under its name from there; links are followed, folders' too."""
    if path.is_file():
        yield path.name, path
    else:
        found = ((Path(name), Path(name).relative_to(path)) for name in _walk(str(path), ()))
        for file, relative in sorted(found, key=lambda pair: pair[1]):
            yield relative.as_posix(), file


def _walk(folder: str, above: tuple[str, ...]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in above or not os.path.isdir(folder):  # a link to a folder that it is in
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.name != "__pycache__":
                    yield from _walk(entry.path, (*above, real))
            elif entry.is_file():
                yield entry.path


def digest_path(path: Path) -> str:
    """SHA-256 of a file's bytes, or of a folder's relative names and bytes (sorted; links are followed)."""
    if path.is_file():
        return digest_file(path)
    return digest_listing((name, digest_file(file)) for name, file in files_of(path))


def digest_listing(files: Iterable[tuple[str, str]]) -> str:
    """SHA-256 of names with the digests of what they name."""
    total = hashlib.sha256()
    for name, digest in files:
        total.update(f"{name}\0{digest}\n".encode())
    return total.hexdigest()


def digest_value(value: Any) -> str:
    """SHA-256 of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
