"""One mail as it was sent (RFC 5322, MIME): its head decoded, its text found among its parts."""

from __future__ import annotations

import codecs
import re
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from typing import Any

from components.engines.base.errors import BadRecord
from components.engines.text.html import text_of_html

MAX_BODY_BYTES = 5 << 20
_MAX_DEPTH = 20  # of parts within parts
_MAX_HEADER = 4_000  # characters of a head's line that are looked at


def parse_mail(raw: bytes, encoding: str | None = None) -> dict[str, Any]:
    """subject, sender, recipients, body (text) and how many `attachments` were left out.

    `encoding` reads text that declares no charset and is no UTF-8. Raises BadRecord for what is no mail, has no text, is nested
    too deeply or longer than MAX_BODY_BYTES, or has a charset nobody knows.
    """
    try:
        message = message_from_bytes(raw)
        if not any(message.get(name) for name in ("From", "To", "Subject", "Date", "Message-ID", "MIME-Version")):
            raise BadRecord("not a mail", "no line of a mail's head")
        found = _Parts(encoding)
        found.take(message, 0)
    except RecursionError:
        raise BadRecord("nested too deeply", f"parts within parts, more than {_MAX_DEPTH}") from None
    body = "\n".join(found.plain or found.html)
    if not body.strip():
        raise BadRecord("no body", f"no text, {found.attachments} attachments")
    recipients = [_header(message, name) for name in ("To", "Cc")]
    return {
        "subject": _header(message, "Subject"),
        "sender": _header(message, "From"),
        "recipients": ", ".join(filter(None, recipients)),
        "body": body,
        "attachments": found.attachments,
    }


class _Parts:
    """The texts of a message, plain and HTML apart, and the number of parts that are neither."""

    def __init__(self, encoding: str | None) -> None:
        self.encoding = encoding
        self.plain: list[str] = []
        self.html: list[str] = []
        self.attachments = self._size = 0

    def take(self, part: Message, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise BadRecord("nested too deeply", f"parts within parts, more than {_MAX_DEPTH}")
        kind = part.get_content_type()
        if part.is_multipart() and kind != "message/rfc822":
            for one in part.get_payload():
                self.take(one, depth + 1)  # type: ignore[arg-type]
        elif kind in ("text/plain", "text/html") and part.get_content_disposition() != "attachment":
            text = self._text(part)
            (self.plain if kind == "text/plain" else self.html).append(
                text if kind == "text/plain" else text_of_html(text)
            )
        else:
            self.attachments += 1

    def _text(self, part: Message) -> str:
        payload = part.get_payload(decode=True)
        data = payload if isinstance(payload, bytes) else b""
        self._size += len(data)
        if self._size > MAX_BODY_BYTES:
            raise BadRecord("body too long", f"more than {MAX_BODY_BYTES >> 20} MiB of text")
        declared = part.get_content_charset()
        if declared in (None, "us-ascii", "ascii"):  # often said of what is none
            declared = None
        return _decoded(data, declared, self.encoding)


def _decoded(data: bytes, charset: str | None, fallback: str | None) -> str:
    """By the charset that is declared; UTF-8 where none is, then `fallback`. No other is guessed."""
    for name in [charset] if charset else ["utf-8", fallback]:
        if name is None:
            continue
        try:
            if not codecs.lookup(name)._is_text_encoding:
                raise LookupError
            return data.decode(name).replace("\0", "")
        except LookupError:
            raise BadRecord("unknown charset", _plain(name)) from None
        except UnicodeError:
            continue
    raise BadRecord("broken text", f"not {_plain(charset)}" if charset else "no charset declared, and no UTF-8")


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]", "", name)[:40]


def _header(message: Message, name: str) -> str:
    """A line of the head in Unicode; words in a charset nobody knows are left out."""
    text = ""
    try:
        pieces = decode_header(str(message.get(name, ""))[:_MAX_HEADER])
    except HeaderParseError:
        pieces = [(str(message.get(name, ""))[:_MAX_HEADER], None)]
    for piece, charset in pieces:
        if isinstance(piece, str):
            text += piece
            continue
        try:
            text += piece.decode(charset or "utf-8", "replace")
        except LookupError:
            continue
    return " ".join(text.encode("utf-8", "replace").decode().split())
