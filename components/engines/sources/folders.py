"""Where a table's image paths lead: out of the folder of images only where a table of this machine says so in full."""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import PurePosixPath
from typing import Any

from components.engines.base.errors import BadRecord, StageError, UsageError
from components.engines.sources.files import SourceFile
from components.engines.sources.hub import SCHEME, names_a_file
from components.engines.sources.inputs import is_local
from components.engines.sources.rows import shorten

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "jfif")
VIDEO_EXTENSIONS = ("mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "ts", "flv", "3gp")


class ImageFolder:
    """The pictures that the tables of `source` name.

    A path may be relative to `images` if that is set, else to the folder its table is in or to the folder of the source; or
    absolute. It must lead to a file below `images`, else below the folder of the source: `..` and links are followed before
    that is looked at. Only an absolute path in a table of this machine may lead elsewhere, to a regular file with a picture's
    suffix: whoever wrote a remote table must not choose what is read here. A name is found in either Unicode form (macOS writes
    accents apart).
    """

    def __init__(
        self, images: str | None, source: str, max_bytes: int, extensions: tuple[str, ...] = IMAGE_EXTENSIONS
    ) -> None:
        self.images, self.source, self.max_bytes, self.extensions = images, source, max_bytes, extensions
        self._place: tuple[Any, str] | None = None

    def image_of(self, cell: Any, beside: str | None) -> tuple[bytes, str]:
        """(bytes, name) of what stands in the column of a table in the folder `beside`. Raises BadRecord."""
        if isinstance(cell, dict) and cell.get("bytes") is not None:
            return bytes(cell["bytes"]), str(cell.get("path") or "")
        if isinstance(cell, dict):
            cell = cell.get("path")
        if isinstance(cell, bytes | bytearray):
            return bytes(cell), ""
        if not isinstance(cell, str) or not cell:
            raise BadRecord("missing field", f"neither bytes nor the path of an image: {shorten(cell)}")
        return self._read(cell, beside), cell

    def place_of(self, name: str, beside: str | None) -> tuple[Any, str]:
        """File system and path of the picture that a table calls `name`. Raises BadRecord for none, or one outside."""
        if "://" in name or "\0" in name:
            raise BadRecord("unsafe path", f"{shorten(name)} is no path in a folder")
        filesystem, root = self._place = self._place or self._connect()
        bases = [beside, root] if self.images is None and beside is not None else [root]
        paths = _readings(name, bases)
        path = next((path for path in paths if filesystem.isfile(path)), None)
        in_full = is_local(filesystem) and _plain(name.replace("\\", "/")).startswith("/") and self._from_here()
        if not in_full and not any(_within(one, root) for one in ([path] if path else paths)):
            raise BadRecord(
                "unsafe path", f"{shorten(name)} is not below {shorten(root)}; `images` names another folder"
            )
        if path is None:
            raise BadRecord("missing image file", shorten(name))
        if is_local(filesystem):
            path, root = os.path.realpath(path), os.path.realpath(root)
            if not _within(path, root) and not (in_full and self._has_extension(path)):
                why = "is no picture by its suffix, and not below" if in_full else "is a link out of"
                raise BadRecord("unsafe path", f"{shorten(name)} {why} {shorten(root)}; `images` names another folder")
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise BadRecord("missing image file", f"{shorten(name)} is no regular file")
        return filesystem, path

    def _has_extension(self, path: str) -> bool:
        return PurePosixPath(path).suffix.lower().removeprefix(".") in self.extensions

    def _from_here(self) -> bool:
        """Whether the tables are files of this machine, its user's own."""
        import fsspec

        return not self.source.startswith(SCHEME) and is_local(fsspec.core.url_to_fs(self.source)[0])

    def _read(self, name: str, beside: str | None) -> bytes:
        try:
            filesystem, path = self.place_of(name, beside)
            with filesystem.open(path, "rb") as file:
                return file.read(self.max_bytes + 1)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise BadRecord("missing image file", shorten(name)) from None
        except OSError as error:
            raise StageError(f"An image cannot be read: {error}", where=name) from error

    def _connect(self) -> tuple[Any, str]:
        import fsspec

        if self.images is None and self.source.startswith(SCHEME) and not names_a_file(self.source):
            raise UsageError(
                "This data set holds paths of images", where=self.source, do="say in `images` where they are"
            )
        place = self.images or self.source
        filesystem, path = fsspec.core.url_to_fs(place)
        if self.images is not None or filesystem.isdir(path):
            return filesystem, path.rstrip("/")
        parts = path.split("/")
        end = next((number for number, part in enumerate(parts) if any(sign in part for sign in "*?[")), len(parts) - 1)
        return filesystem, "/".join(parts[:end])


def folder_of(file: SourceFile | None) -> str | None:
    """The folder a table is in, which its paths are relative to."""
    return file.path.rpartition("/")[0] if file else None


def _readings(name: str, bases: list[str]) -> list[str]:
    """The paths that `name` may mean, likeliest first, without `.` and `..`."""
    written = name.replace("\\", "/")
    found = []
    for form in dict.fromkeys((written, unicodedata.normalize("NFC", written), unicodedata.normalize("NFD", written))):
        found += [_plain(form if form.startswith("/") else f"{base}/{form}") for base in bases]
    return list(dict.fromkeys(found))


def _plain(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts != [""]:
            parts.pop()
        elif part not in ("", ".", "..") or not parts:
            parts.append(part)
    return "/".join(parts)


def _within(path: str, root: str) -> bool:
    return PurePosixPath(path).is_relative_to(PurePosixPath(root))
