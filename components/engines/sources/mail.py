"""Mails from mailboxes (mbox, maildir, eml), plain text and tables; what cannot be used is counted, reported and left out."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Literal

from components.engines.base.errors import BadRecord, StageError, UsageError
from components.engines.base.external import Input
from components.engines.base.funnel import Funnel
from components.engines.sources.files import FORMATS, SourceFile, astray, damage_explained, find_files, is_saved_dataset
from components.engines.sources.hub import SCHEME, names_a_file
from components.engines.sources.inputs import located, source_inputs
from components.engines.sources.message import MAX_BODY_BYTES, parse_mail
from components.engines.sources.records import locate_records
from components.engines.sources.rows import has_broken_text, text_of
from components.engines.sources.text import Overlong, Reading, open_text, read_lines

BOXES = {".mbox": "mbox", ".eml": "eml", ".txt": "txt"}
MAIL_FORMATS = FORMATS | BOXES
MAX_MAIL_BYTES = 32 << 20  # attachments included
TextUnit = Literal["file", "paragraph"]
_Part = tuple[int, bytes | str | BadRecord]  # its number in the file, and what is there


def read_mails(
    source: str,
    *,
    format: str | None = None,
    fields: dict[str, str],
    text_unit: TextUnit = "file",
    limit: int | None = None,
    reading: Reading,
    funnel: Funnel,
    on_bad: Callable[[dict[str, Any]], None],
) -> Iterator[dict[str, Any]]:
    """Yield mails as dicts of texts: `body`, and of `subject`, `sender`, `recipients`, `previous` what there is.

    In tables `fields` maps our names to their columns. A `.txt` file is one mail without a head, or one a
    paragraph. A mail is read whole, so memory is bounded by MAX_MAIL_BYTES. What cannot be used is counted with
    `funnel.quarantine` and given to `on_bad` as {"reason", "line", "file", "detail"}; `line` counts the mails of a mailbox.
    Raises UsageError for a source or format that does not exist, StageError for one without mails.
    """
    if _is_table(source, format):
        found = _in_tables(source, format, fields, reading, funnel, on_bad)
    else:
        found = _in_boxes(source, format, text_unit, reading, funnel, on_bad)
    return itertools.islice(found, limit)


def mail_inputs(source: str, format: str | None, root: Path) -> list[Input]:
    """Every file that `read_mails` opens: see base/external.py."""
    place = located(source, root)
    if _is_maildir(place, format):
        return [Input(name, path) for name, path in _maildir_files(Path(place))]
    return source_inputs(source, format, root, formats=MAIL_FORMATS)


def _is_table(source: str, format: str | None) -> bool:
    if _is_maildir(source, format):
        return False
    if (source.startswith(SCHEME) and not names_a_file(source)) or is_saved_dataset(source):
        return True
    return all(file.format in FORMATS.values() for file in find_files(source, format, formats=MAIL_FORMATS))


def _in_tables(
    source: str, format: str | None, fields: dict[str, str], reading: Reading, funnel: Funnel, on_bad: Any
) -> Iterator[dict[str, Any]]:
    found = locate_records(
        source, format=format, fields=fields, required=("body",), reading=reading, funnel=funnel, on_bad=on_bad
    )
    for one in found:
        try:
            yield {name: _text_in(value, name) for name, value in one.record.items()}
        except BadRecord as bad:
            funnel.quarantine(bad.reason)
            on_bad({"reason": bad.reason, "line": one.line, "file": one.name, "detail": bad.detail})


def _text_in(value: Any, name: str) -> str:
    """A cell's text; several recipients may be a list, and all but the body may be missing."""
    if value is None:
        return ""
    text = ", ".join(text_of(one, name) for one in value) if isinstance(value, list) else text_of(value, name)
    if name == "body" and not text.strip():
        raise BadRecord("no body", "nothing but white space")
    if len(text) > MAX_BODY_BYTES:
        raise BadRecord("body too long", f"more than {MAX_BODY_BYTES >> 20} MiB of text")
    return text


def _in_boxes(
    source: str, format: str | None, text_unit: TextUnit, reading: Reading, funnel: Funnel, on_bad: Any
) -> Iterator[dict[str, Any]]:
    met = 0
    for name, number, found in _parts(source, format, text_unit, reading):
        met += 1
        try:
            if isinstance(found, BadRecord):
                raise found
            yield {"body": found} if isinstance(found, str) else parse_mail(found, reading.layout.encoding)
        except BadRecord as bad:
            funnel.quarantine(bad.reason)
            on_bad({"reason": bad.reason, "line": number, "file": name, "detail": bad.detail})
    if not met:
        raise StageError("The source holds no mails", where=source, do="check how it was made or copied")


def _parts(
    source: str, format: str | None, text_unit: TextUnit, reading: Reading
) -> Iterator[tuple[str, int, bytes | str | BadRecord]]:
    if _is_maildir(source, format):
        for name, path in _maildir_files(Path(source)):
            yield name, 1, _guarded(path, Path(source)) or path.read_bytes()
        return
    for file in find_files(source, format, formats=MAIL_FORMATS):
        outside = _guarded(Path(file.path), Path(source)) if file.is_local and Path(source).is_dir() else None
        if outside:
            yield file.name, 1, outside
            continue
        if file.format in FORMATS.values():
            raise StageError(
                "Tables and mailboxes stand in one source",
                where=file.name,
                do="name them one at a time, or set `format:`",
            )
        with damage_explained(file.name), file.open() as opened:
            yield from ((file.name, number, part) for number, part in _in_file(file, opened, text_unit, reading))


def _in_file(file: SourceFile, opened: IO[bytes], text_unit: TextUnit, reading: Reading) -> Iterator[_Part]:
    if file.format == "mbox":
        yield from _in_mbox(opened)
    elif file.format == "txt":
        yield from _in_text(file, opened, text_unit, reading)
    else:
        raw = opened.read(MAX_MAIL_BYTES + 1)
        yield 1, raw if len(raw) <= MAX_MAIL_BYTES else _too_large()


def _in_mbox(opened: IO[bytes]) -> Iterator[_Part]:
    """The mails between lines that begin with `From ` and have a time, as `mailbox.mbox` has them; `>From ` is read `From `."""
    held: list[bytes] = []
    number, size, started = 0, 0, False
    while line := opened.readline(MAX_MAIL_BYTES):
        if _POSTMARK.match(line):
            if started:
                number += 1
                yield number, b"".join(held) if size <= MAX_MAIL_BYTES else _too_large()
            size, held, started = 0, [], True
            continue
        size += len(line)
        started = started or bool(line.strip())
        if size <= MAX_MAIL_BYTES:
            held.append(line[1:] if _QUOTED_FROM.match(line) else line)
        else:
            held.clear()
    if started:
        yield number + 1, b"".join(held) if size <= MAX_MAIL_BYTES else _too_large()


def _in_text(file: SourceFile, opened: IO[bytes], text_unit: TextUnit, reading: Reading) -> Iterator[_Part]:
    _, stream = open_text(file, opened, reading)
    held: list[str] = []
    start = size = 0
    lines = itertools.chain(read_lines(file, stream, MAX_BODY_BYTES), [(-1, "")])
    for number, line in lines:
        last = number == -1
        text = line.beginning if isinstance(line, Overlong) else line
        if last or (text_unit == "paragraph" and not text.strip()):
            if size:
                yield start, _checked_text("".join(held), size)
            held, start, size = [], 0, 0
            continue
        start = start or number
        size += line.size if isinstance(line, Overlong) else len(text)
        if size <= MAX_BODY_BYTES:
            held.append(text)


def _checked_text(text: str, size: int) -> str | BadRecord:
    if size > MAX_BODY_BYTES:
        return BadRecord("body too long", f"more than {MAX_BODY_BYTES >> 20} MiB of text")
    if has_broken_text(text):
        return BadRecord("broken UTF-8", "say its encoding in `text.encoding`")
    return text.replace("\0", "") if text.strip() else BadRecord("no body", "nothing but white space")


def _is_maildir(source: str, format: str | None) -> bool:
    """Whether `source` is a folder with what a maildir has in it. Raises UsageError where `format` says so and it is none."""
    found = all(Path(source, name).is_dir() for name in ("cur", "new"))
    if format == "maildir" and not found:
        raise UsageError("There is no maildir (a folder with `cur` and `new`)", where=source, do="correct `source`")
    return found and format in (None, "maildir")


def _maildir_files(root: Path) -> list[tuple[str, Path]]:
    """(name below the root, path) of every mail that was delivered, in its folders (`.Sent/cur`) too; links to folders are not
    followed."""
    found = []
    for folder, _, names in os.walk(root):
        if Path(folder).name in ("cur", "new"):
            paths = [Path(folder, name) for name in names if not name.startswith(".")]
            found += [(str(path.relative_to(root)), path) for path in paths]
    return sorted(found)


def _guarded(path: Path, root: Path) -> BadRecord | None:
    """Why a file of a folder must not be read: it leads elsewhere, or has more than a mail may have."""
    return astray(path, root) or (_too_large() if os.stat(path).st_size > MAX_MAIL_BYTES else None)


def _too_large() -> BadRecord:
    return BadRecord("mail too large", f"more than {MAX_MAIL_BYTES >> 20} MiB with its attachments")


_POSTMARK = re.compile(rb"From .*\d\d:\d\d")
_QUOTED_FROM = re.compile(rb">+From ")
