"""Which documents a source holds, of what kind each is by its bytes, and how many pages it has."""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from components.engines.base.errors import BadRecord, UsageError
from components.engines.documents.markup import decode_text
from components.engines.documents.pdf import PdfLimits, notes_on, open_pdf

SUFFIXES = {
    **dict.fromkeys([".htm", ".html", ".xhtml"], "html"),
    **dict.fromkeys([".md", ".markdown"], "markdown"),
    **dict.fromkeys(".py .js .ts .java .c .h .cpp .go .rs .rb .sh .sql .yaml .yml .toml".split(), "code"),
    **dict.fromkeys([".txt", ".text", ".rst"], "text"),
    **dict.fromkeys(".png .jpg .jpeg .tif .tiff .bmp .gif .webp".split(), "image"),
    ".pdf": "pdf",
    ".zip": "zip",
}
_MAGIC = (
    (b"%PDF-", "pdf"),
    (b"PK\x03\x04", "zip"),
    (b"\x89PNG", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"II*\0", "image"),
    (b"MM\0*", "image"),
    (b"GIF8", "image"),
    (b"BM", "image"),
    (b"RIFF", "image"),
)
_MAX_TEXT = 50_000_000
_MAX_RATIO, _MAX_UNPACKED, _MAX_MEMBERS = 200, 2_000_000_000, 20_000

Found = tuple[str, bytes]
OnBad = Callable[[str, BadRecord], None]


@dataclass(frozen=True)
class Entry:
    """A document of the library. `id` follows from its name alone, `digest` from its bytes; `readers` are groups."""

    id: str
    name: str
    kind: str
    digest: str
    pages: int
    readers: tuple[str, ...]
    file: str
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Entry:
        return cls(**{**body, "readers": tuple(body["readers"]), "notes": tuple(body["notes"])})


def id_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def find_documents(source: Path, on_bad: OnBad) -> Iterator[Found]:
    """Name (relative to the source) and bytes of every file of a folder, in the order of their names, or of one file; of
    a zip its members. Hidden files are left out. Raises UsageError where there is none."""
    if source.is_file():
        yield from _unpacked(source.name, source.read_bytes(), on_bad)
        return
    files = sorted(path for path in source.rglob("*") if path.is_file() and not path.is_symlink())
    files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(source).parts)]
    if not files:
        raise UsageError(
            "The source does not exist or holds no files", where=str(source), do="correct `source` in params"
        )
    for path in files:
        yield from _unpacked(path.relative_to(source).as_posix(), path.read_bytes(), on_bad)


def _unpacked(name: str, data: bytes, on_bad: OnBad) -> Iterator[Found]:
    if PurePosixPath(name).suffix.lower() != ".zip":
        yield name, data
        return
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = _members(archive, len(data))
    except (zipfile.BadZipFile, NotImplementedError) as error:
        on_bad(name, BadRecord("damaged zip", str(error)))
        return
    except BadRecord as bad:
        on_bad(name, bad)
        return
    for member in members:
        inside = f"{name}/{member.filename}"
        try:
            body = archive.read(member)  # zipfile stops at the size that the header names
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
            on_bad(inside, BadRecord("damaged zip", str(error)))
            continue
        if PurePosixPath(inside).suffix.lower() == ".zip":
            on_bad(inside, BadRecord("zip inside a zip"))
            continue
        yield inside, body


def _members(archive: zipfile.ZipFile, size: int) -> list[zipfile.ZipInfo]:
    """Its files. Raises BadRecord: `zip bomb`, `unsafe name in zip`."""
    members = [member for member in archive.infolist() if not member.is_dir()]
    unpacked = sum(member.file_size for member in members)
    if unpacked > _MAX_UNPACKED or unpacked > _MAX_RATIO * max(size, 10_000) or len(members) > _MAX_MEMBERS:
        raise BadRecord("zip bomb", f"{len(members)} files, {unpacked} bytes from {size}")
    for member in members:
        parts = PurePosixPath(member.filename).parts
        if member.filename.startswith("/") or ".." in parts or "\\" in member.filename:
            raise BadRecord("unsafe name in zip", member.filename)
        if stat.S_ISLNK(member.external_attr >> 16):
            raise BadRecord("unsafe name in zip", f"{member.filename} is a link")
    return members


def kind_of(name: str, data: bytes) -> str:
    """What a file is. Raises BadRecord: `empty file`, `unknown kind of file`, `wrong suffix`, and what no text is refused for."""
    if not data:
        raise BadRecord("empty file")
    told = SUFFIXES.get(PurePosixPath(name).suffix.lower())
    if told is None:
        raise BadRecord("unknown kind of file", PurePosixPath(name).suffix or "no suffix")
    head = data[:1024].lstrip() if told == "pdf" else data
    seen = next((kind for magic, kind in _MAGIC if head.startswith(magic)), "text")
    if told in ("html", "markdown", "code", "text"):
        if seen != "text":
            raise BadRecord("wrong suffix", f"the bytes are {seen}")
        if len(data) > _MAX_TEXT:
            raise BadRecord("too many bytes", f"{len(data)}, at most {_MAX_TEXT}")
        decode_text(data)
    elif seen != told and not (told == "image" and seen == "text"):
        raise BadRecord("wrong suffix", f"the bytes are {seen}")
    return told


def entry_of(name: str, path: Path, kind: str, data: bytes, readers: tuple[str, ...], limits: PdfLimits) -> Entry:
    """The entry of a document that lies at `path` with these bytes. Raises BadRecord for a PDF that does not open."""
    pages = 1
    notes: tuple[str, ...] = ()
    if kind == "pdf":
        document = open_pdf(path, limits)
        pages, notes = len(document), notes_on(document)
        document.close()
    return Entry(id_of(name), name, kind, hashlib.sha256(data).hexdigest(), pages, readers, path.name, notes)
