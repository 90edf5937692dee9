"""Captioned images from any source, undecoded: tables with paths or bytes, folders with a table, WebDataset tars, `hf://`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from components.engines.base.errors import BadRecord, StageError, UsageError
from components.engines.base.funnel import Funnel
from components.engines.sources.files import ARCHIVES, find_files, reading
from components.engines.sources.formats import Unreadable, has_broken_text, shorten
from components.engines.sources.hub import SCHEME, names_a_file
from components.engines.sources.records import read_records
from components.engines.sources.tars import TarSample, read_tar

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")

OnBad = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class CaptionedImage:
    """`image` is the file as it was found; `name` is what the source calls it."""

    image: bytes
    caption: str
    name: str


def read_captioned(
    source: str,
    *,
    format: str | None = None,
    fields: dict[str, str],
    images: str | None = None,
    limit: int | None = None,
    max_bytes: int,
    funnel: Funnel,
    on_bad: OnBad,
) -> Iterator[CaptionedImage]:
    """Yield the captioned images of `source`; at most `limit` of them.

    Tables (see records.read_records) have a column for `image` and one for `caption`, named in `fields`. An image is bytes,
    `{"bytes": …, "path": …}` as `datasets` has it, or a path relative to `images` (a folder or URL; else the folder the
    table is in), which must not lead out of there. Sources that end in `.tar` are WebDataset tars: an image, and its caption
    as `.txt` or under `fields["caption"]` of `.json`.

    What cannot be read is counted with `funnel.quarantine` and given to `on_bad`, as by `read_records`; no more than
    `max_bytes` + 1 are read of any image, for decode_image to refuse.
    """
    if format == "webdataset" or (format is None and ".tar" in PurePosixPath(source).suffixes):
        found = _from_tars(source, fields.get("caption", "caption"), max_bytes, funnel, on_bad)
    else:
        found = _from_table(source, format, fields, images, max_bytes, funnel, on_bad)
    return itertools.islice(found, limit)


def _from_table(
    source: str,
    format: str | None,
    fields: dict[str, str],
    images: str | None,
    max_bytes: int,
    funnel: Funnel,
    on_bad: OnBad,
) -> Iterator[CaptionedImage]:
    folder = _ImageFolder(images, source, max_bytes)
    records = read_records(
        source, format=format, fields=fields, required=("image", "caption"), funnel=funnel, on_bad=on_bad
    )
    for record in records:
        try:
            image, name = folder.image_of(record["image"])
            yield CaptionedImage(image, _text(record["caption"]), name)
        except BadRecord as bad:
            funnel.quarantine(bad.reason)
            on_bad({"reason": bad.reason, "line": None, "file": source, "detail": bad.detail})


def _text(caption: Any) -> str:
    if not isinstance(caption, str):
        raise BadRecord("caption is no text", shorten(caption))
    return caption


class _ImageFolder:
    """Where a table's image paths lead."""

    def __init__(self, images: str | None, source: str, max_bytes: int) -> None:
        self.images, self.source, self.max_bytes = images, source, max_bytes
        self._place: tuple[Any, str] | None = None

    def image_of(self, cell: Any) -> tuple[bytes, str]:
        """(bytes, name) of what stands in the column. Raises BadRecord."""
        if isinstance(cell, dict) and cell.get("bytes") is not None:
            return bytes(cell["bytes"]), str(cell.get("path") or "")
        if isinstance(cell, dict):
            cell = cell.get("path")
        if isinstance(cell, bytes | bytearray):
            return bytes(cell), ""
        if not isinstance(cell, str) or not cell:
            raise BadRecord("missing field", f"neither bytes nor the path of an image: {shorten(cell)}")
        return self._read(cell), cell

    def _read(self, name: str) -> bytes:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or "://" in name or "\0" in name:
            raise BadRecord("unsafe path", f"{shorten(name)} is not below the folder of images")
        filesystem, base = self._place = self._place or self._connect()
        try:
            with filesystem.open(f"{base}/{path}", "rb") as file:
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


def _from_tars(
    source: str, caption_field: str, max_bytes: int, funnel: Funnel, on_bad: OnBad
) -> Iterator[CaptionedImage]:
    met = 0
    for file in find_files(source, "webdataset", formats=ARCHIVES):
        with file.open() as opened, reading(file.name):
            for sample in read_tar(file, opened, max_member_bytes=max_bytes):
                met += 1
                made = sample if isinstance(sample, Unreadable) else _of_sample(sample, caption_field)
                if isinstance(made, Unreadable):
                    funnel.quarantine(made.reason)
                    on_bad({"reason": made.reason, "line": made.line, "file": file.name, "detail": made.detail})
                else:
                    yield made
    if not met:
        raise StageError("The source holds no samples", where=source, do="check how it was made or copied")


def _of_sample(sample: TarSample, caption_field: str) -> CaptionedImage | Unreadable:
    extension = next((name for name in IMAGE_EXTENSIONS if name in sample.fields), None)
    if extension is None:
        return Unreadable(sample.number, "missing field", f"{sample.key}: no image among {', '.join(sample.fields)}")
    try:
        caption = _caption(sample.fields, caption_field)
    except ValueError as error:
        return Unreadable(
            sample.number, "broken UTF-8" if isinstance(error, UnicodeDecodeError) else "invalid JSON", sample.key
        )
    if not isinstance(caption, str) or has_broken_text(caption):
        return Unreadable(sample.number, "missing field", f"{sample.key}: no caption")
    return CaptionedImage(sample.fields[extension], caption, f"{sample.key}.{extension}")


def _caption(fields: dict[str, bytes], caption_field: str) -> Any:
    if "txt" in fields:
        return fields["txt"].decode("utf-8")
    told = json.loads(fields["json"]) if "json" in fields else None
    return told.get(caption_field) if isinstance(told, dict) else None
