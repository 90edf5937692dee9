"""The text layer of a PDF page: words with their boxes, ruling lines and pictures; and whether the layer can be believed."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from components.engines.documents.page import Box, Line

MIN_WORDS = 3
_MAX_UNREADABLE = 0.05  # share of characters that stand for nothing
_MAX_VOWELLESS = 0.5  # share of longer Latin words without a vowel: a font whose codes are no letters
_VOWEL = re.compile(r"[aeiouyäöüáéíóúàèìòùâêîôûåæø]", re.IGNORECASE)
_BOLD = re.compile(r"bold|black|heavy|demi|medi$", re.IGNORECASE)
_LATIN = re.compile(r"[a-zà-ÿ]{4,}", re.IGNORECASE)


@dataclass(frozen=True)
class Layer:
    """What a page holds as text and vectors. `edges`: ruling lines as pdfplumber describes them."""

    words: list[Line]
    edges: list[dict[str, Any]]
    pictures: list[Box]


def read_layer(page: Any) -> Layer:
    """The layer of a pdfplumber page. Words are in no order."""
    words = [
        Line(
            word["text"],
            (word["x0"], word["top"], word["x1"], word["bottom"]),
            float(word["size"]),
            bool(_BOLD.search(word["fontname"])),
        )
        for word in page.extract_words(extra_attrs=["size", "fontname"], keep_blank_chars=False, x_tolerance=1.5)
        if word["upright"]
    ]
    pictures = [(image["x0"], image["top"], image["x1"], image["bottom"]) for image in page.images]
    return Layer(words, page.edges, pictures)


def why_not(page: Any, words: list[Line]) -> str | None:
    """Why the layer of this pdfplumber page is not to be believed, or None: `missing`, `turned`, `unreadable`."""
    characters = page.chars
    if len(words) < MIN_WORDS:
        upright = sum(character["upright"] for character in characters)
        return "turned" if len(characters) - upright > max(20, upright) else "missing"
    if sum(not character["upright"] for character in characters) > len(characters) / 2:
        return "turned"
    text = "".join(word.text for word in words)
    odd = sum(unicodedata.category(sign) in ("Co", "Cn", "Cc", "Cs") or sign == "\ufffd" for sign in text)
    odd += 5 * text.count("(cid:")
    if odd > _MAX_UNREADABLE * len(text):
        return "unreadable"
    longer = [word for line in words for word in _LATIN.findall(line.text)]
    if len(longer) >= 10 and sum(not _VOWEL.search(word) for word in longer) > _MAX_VOWELLESS * len(longer):
        return "unreadable"
    return None
