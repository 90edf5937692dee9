"""One way of writing a text, so that equal texts are equal bytes."""

from __future__ import annotations

import unicodedata


def normalise(text: str) -> str:
    """Unicode NFC, control characters out, runs of white space as one space."""
    composed = unicodedata.normalize("NFC", text)
    printable = "".join(" " if unicodedata.category(character) == "Cc" else character for character in composed)
    return " ".join(printable.split())
