"""Captioned images and clips from any source, undecoded: tables with paths or bytes, folders, WebDataset tars, `hf://`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from components.engines.base.digests import Digests
from components.engines.base.errors import BadRecord, GenworksError, StageError, UsageError
from components.engines.base.external import Input, state_of
from components.engines.base.funnel import Funnel
from components.engines.base.paths import digest_value
from components.engines.sources.files import ARCHIVES, SourceFile, astray, damage_explained, find_files
from components.engines.sources.folders import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS, ImageFolder, folder_of
from components.engines.sources.formats import parse_json
from components.engines.sources.hub import SCHEME, names_a_file
from components.engines.sources.inputs import inputs_at, located, source_inputs
from components.engines.sources.records import Located, locate_records
from components.engines.sources.rows import Unreadable, shorten, text_of
from components.engines.sources.tars import TarSample, read_tar
from components.engines.sources.text import AS_FOUND, Reading, log

_PEEK = 100  # records that are looked at for paths

OnBad = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Medium:
    """What is captioned: its field, and by kind the extensions of its files; of a sample the first kind that is there counts."""

    field: str
    kinds: tuple[tuple[str, ...], ...]
    needs_caption: bool = True

    @property
    def extensions(self) -> tuple[str, ...]:
        return tuple(one for kind in self.kinds for one in kind)


PICTURES = Medium("image", (IMAGE_EXTENSIONS,))
CLIPS = Medium("clip", (VIDEO_EXTENSIONS, IMAGE_EXTENSIONS), needs_caption=False)  # a picture is a clip of one frame


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
    each_caption: bool = False,
    limit: int | None = None,
    max_bytes: int,
    reading: Reading = AS_FOUND,
    medium: Medium = PICTURES,
    funnel: Funnel,
    on_bad: OnBad,
) -> Iterator[CaptionedImage]:
    """Yield the captioned images of `source`; at most `limit` of them.

    Tables (see records.read_records) have a column for `image` and one for `caption`, named in `fields`. An image is bytes,
    `{"bytes": …, "path": …}` as `datasets` has it, or a path (see folders.ImageFolder). With `each_caption` a list of captions
    is one record each; without, it is quarantined. Sources that end in `.tar`, and folders and globs that hold tars (the tables
    img2dataset writes beside them are not read), are WebDataset tars: an image, and its caption as `.txt` or under
    `fields["caption"]` of `.json`.

    Clips go the same ways; besides, `source` may be clips themselves, or a folder or glob of them, each with its caption in a
    `.txt` of the same name beside it. A clip without a caption has an empty one, and so have all where `fields` names none.

    What cannot be read is counted with `funnel.quarantine` and given to `on_bad`, as by `read_records`; no more than
    `max_bytes` + 1 are read of any image, for decode_image to refuse.
    """
    if _holds_samples(source, format):
        found = _from_tars(source, fields.get("caption"), each_caption, max_bytes, medium, funnel, on_bad)
    elif _holds_clips(source, format, medium):
        found = _from_files(source, "caption" in fields, max_bytes, medium, funnel, on_bad)
    else:
        records = locate_records(
            source,
            format=format,
            fields=fields,
            required=(medium.field, "caption") if medium.needs_caption else (medium.field,),
            reading=reading,
            funnel=funnel,
            on_bad=on_bad,
        )
        folder = ImageFolder(images, source, max_bytes, medium.extensions)
        found = _from_table(records, folder, each_caption, medium, funnel, on_bad)
    return itertools.islice(found, limit)


def captioned_inputs(
    source: str,
    root: Path,
    digests: Digests,
    *,
    format: str | None,
    fields: dict[str, str],
    images: str | None,
    reading: Reading = AS_FOUND,
    medium: Medium = PICTURES,
) -> dict[str, list[Input]]:
    """The files that `read_captioned` reads, for base/external.py: those of the source, and the pictures a table names."""
    place = located(source, root)
    if _holds_samples(place, format):
        return {"source": source_inputs(source, format, root, formats=ARCHIVES)}
    if _holds_clips(place, format, medium):
        return {"source": source_inputs(source, None, root, formats=_clip_formats(medium) | {".txt": "caption"})}
    tables = source_inputs(source, format, root)
    told = [format, fields, reading.layout.model_dump()]
    key = digest_value([medium.field, place, state_of(tables, digests), *told])
    names = digests.recalled(key, lambda: _names_in(place, format, fields, reading, medium.field))
    folder = ImageFolder(images and located(images, root), place, 0, medium.extensions)
    paths: dict[str, str] = {}
    filesystem = None
    for name, beside in names:
        with suppress(BadRecord):  # the reader quarantines it
            filesystem, paths[f"{beside}/{name}"] = folder.place_of(name, beside)
    return {"source": tables, "images": inputs_at(filesystem, paths) if paths else []}


def _names_in(
    source: str, format: str | None, fields: dict[str, str], reading: Reading, field: str
) -> list[list[str | None]]:
    """What a table calls its pictures, and the folder it is in; one that starts with bytes is taken to hold bytes throughout."""
    column = {field: fields.get(field, field)}
    found: dict[tuple[str, str | None], None] = {}
    records = locate_records(
        source, format=format, fields=column, required=(), reading=reading, funnel=Funnel(), on_bad=lambda _: None
    )
    for number, one in enumerate(records):
        cell = one.record[field]
        if isinstance(cell, dict):
            cell = cell.get("path") if cell.get("bytes") is None else None
        if isinstance(cell, str):
            found[cell, folder_of(one.file)] = None
        if number >= _PEEK and not found:
            break
    return [list(one) for one in found]


def _clip_formats(medium: Medium) -> dict[str, str]:
    return {f".{extension}": medium.field for extension in medium.extensions}


def _holds_clips(source: str, format: str | None, medium: Medium) -> bool:
    """Whether the source is clips, and no table tells of them."""
    if medium.needs_caption or format is not None or (source.startswith(SCHEME) and not names_a_file(source)):
        return False
    try:
        find_files(source, None)
    except UsageError:
        return bool(find_files(source, None, formats=_clip_formats(medium)))
    return False


def _from_files(
    source: str, captioned: bool, max_bytes: int, medium: Medium, funnel: Funnel, on_bad: OnBad
) -> Iterator[CaptionedImage]:
    import fsspec

    named = fsspec.core.url_to_fs(source)[1]  # itself a clip: then it may lie where its user says
    for file in find_files(source, None, formats=_clip_formats(medium)):
        beside = str(PurePosixPath(file.path).with_suffix(".txt"))
        if file.is_local and file.path != named and (bad := _astray(file, beside)):
            funnel.quarantine(bad.reason)
            on_bad({"reason": bad.reason, "line": 1, "file": file.name, "detail": bad.detail})
            continue
        with file.filesystem.open(file.path, "rb") as opened, damage_explained(file.name):
            data = opened.read(max_bytes + 1)
        told = file.filesystem.cat_file(beside) if captioned and file.filesystem.isfile(beside) else b""
        yield CaptionedImage(data, text_of(told, "caption").strip(), file.name)


def _astray(file: SourceFile, beside: str) -> BadRecord | None:
    root = file.path.removesuffix(file.name)
    return astray(file.path, root) or (astray(beside, root) if file.filesystem.isfile(beside) else None)


def _holds_samples(source: str, format: str | None) -> bool:
    return format == "webdataset" or (format is None and _holds_tars(source))


def _holds_tars(source: str) -> bool:
    if ".tar" in PurePosixPath(source).suffixes:
        return True
    if source.startswith(SCHEME) and not names_a_file(source):
        return False
    try:
        tars = [file.name for file in find_files(source, None, formats=ARCHIVES)]
    except UsageError:
        return False
    try:
        tables = [file.name for file in find_files(source, None)]
    except UsageError:
        return True
    shards = {name.split(".")[0] for name in tars}
    others = [name for name in tables if name.split(".")[0].removesuffix("_stats") not in shards]
    if others:
        raise UsageError(
            f"The source holds tars ({shorten(tars[0])} …) and tables that do not belong to them ({shorten(others[0])} …)",
            where=source,
            do="name one kind, as in FOLDER/*.tar, or set `format: webdataset`",
        )
    log.info("%s: its %d tars are read, not the tables beside them", source, len(tars))
    return True


def _from_table(
    records: Iterator[Located], folder: ImageFolder, each_caption: bool, medium: Medium, funnel: Funnel, on_bad: OnBad
) -> Iterator[CaptionedImage]:
    for one in records:
        for caption in _captions(one.record.get("caption"), each_caption):
            try:
                text = "" if caption is None and not medium.needs_caption else text_of(caption, "caption")
                image, name = folder.image_of(one.record[medium.field], folder_of(one.file))
            except (GenworksError, MemoryError):
                raise
            except Exception as error:
                bad = error if isinstance(error, BadRecord) else BadRecord(type(error).__name__, shorten(error))
                funnel.quarantine(bad.reason)
                on_bad({"reason": bad.reason, "line": one.line, "file": one.name, "detail": bad.detail})
            else:
                yield CaptionedImage(image, text, name)


def _captions(cell: Any, each: bool) -> list[Any]:
    """What is a record of its own; a list that is none is left for text_of to refuse."""
    return list(cell) if each and isinstance(cell, list | tuple) and cell else [cell]


def _from_tars(
    source: str,
    caption_field: str | None,
    each_caption: bool,
    max_bytes: int,
    medium: Medium,
    funnel: Funnel,
    on_bad: OnBad,
) -> Iterator[CaptionedImage]:
    met = 0
    for file in _tars(source):
        with file.open() as opened, damage_explained(file.name):
            for sample in read_tar(file, opened, pictures=medium.extensions, max_member_bytes=max_bytes):
                if isinstance(sample, Unreadable):
                    made: list[Any] = [sample]
                else:
                    made = _of_sample(sample, caption_field, each_caption, medium)
                for one in made:
                    met += 1
                    if isinstance(one, Unreadable):
                        funnel.quarantine(one.reason)
                        on_bad({"reason": one.reason, "line": one.line, "file": file.name, "detail": one.detail})
                    else:
                        yield one
    if not met:
        raise StageError("The source holds no samples", where=source, do="check how it was made or copied")


def _tars(source: str) -> list[SourceFile]:
    try:
        return find_files(source, None, formats=ARCHIVES)
    except UsageError:  # of other suffixes, if `format` says what they are
        return find_files(source, "webdataset", formats=ARCHIVES)


def _of_sample(
    sample: TarSample, caption_field: str | None, each: bool, medium: Medium
) -> list[CaptionedImage | Unreadable]:
    """The records of one sample. Whatever a sample does to the code that looks at it ends here: it never stops the stage."""
    met = ([name for name in kind if name in sample.fields] for kind in medium.kinds)
    pictures = next((names for names in met if names), [])
    try:
        if not pictures:
            raise BadRecord("missing field", f"no {medium.field} among {', '.join(sample.fields)}")
        if len(pictures) > 1:  # which one the caption is about, nobody knows
            raise BadRecord(f"several {medium.field}s", ", ".join(pictures))
        (extension,) = pictures
        image, name = sample.fields[extension], f"{sample.key}.{extension}"
        captions = _captions(_caption(sample.fields, caption_field, medium.needs_caption), each)
    except Exception as error:
        return [_unreadable(sample, error)]
    made: list[CaptionedImage | Unreadable] = []
    for caption in captions:
        try:
            made.append(CaptionedImage(image, text_of(caption, "caption"), name))
        except BadRecord as bad:
            made.append(_unreadable(sample, bad))
    return made


def _unreadable(sample: TarSample, error: Exception) -> Unreadable:
    if isinstance(error, BadRecord):
        return Unreadable(sample.number, error.reason, shorten(f"{sample.key}: {error.detail}"))
    reason = "invalid JSON" if isinstance(error, ValueError | RecursionError) else type(error).__name__
    return Unreadable(sample.number, reason, shorten(f"{sample.key}: {error}"))


def _caption(fields: dict[str, bytes], caption_field: str | None, needed: bool) -> Any:
    if caption_field is None and not needed:
        return ""
    caption_field = caption_field or "caption"
    if "txt" in fields:
        return fields["txt"]  # text_of decodes it
    told = parse_json(text_of(fields["json"], "json")) if "json" in fields else None
    caption = told.get(caption_field) if isinstance(told, dict) else None
    if caption is None and not needed:
        return ""
    if caption is None:
        raise BadRecord("missing field", f"no caption: neither .txt nor '{caption_field}' in .json")
    return caption
