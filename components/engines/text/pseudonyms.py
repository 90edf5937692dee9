"""People as numbers, and mails in which nobody is named: what may be written of a mail."""

from __future__ import annotations

import re
from email.utils import getaddresses

from components.engines.text.pii import find_personal, with_placeholders

_SHORTEST_NAME = 3  # shorter ones are words, too


def people_of(header: str) -> list[tuple[str, str]]:
    """(name, address) of everybody in a `From` or `To` header; of a name without an address, `("", name)`."""
    if "@" not in header:
        return [("", " ".join(header.replace('"', "").split()))] if header.strip() else []
    return [(name, address) for name, address in getaddresses([header]) if name or address]


def names_in(header: str) -> set[str]:
    """The words of the names that a header gives."""
    found = set()
    for name, address in people_of(header):
        shown = re.sub(r"[\"'()\[\],<>]", " ", name or address)
        if "@" not in shown:
            found |= {part.strip(".") for part in shown.split()}
    return {name for name in found if len(name) >= _SHORTEST_NAME and name[:1].isupper()}


class Pseudonyms:
    """`person-1`, `person-2` … in the order met: unlike a digest, a number cannot be found again by trying addresses."""

    def __init__(self) -> None:
        self._met: dict[str, int] = {}

    def of(self, header: str) -> list[str]:
        """One for each person of a header."""
        identities = [(address or name).casefold() for name, address in people_of(header)]
        return [f"person-{self._met.setdefault(one, len(self._met) + 1)}" for one in identities]


def anonymous(text: str, region: str, names: set[str]) -> str:
    """`text` with placeholders for what is personal; `names` are those of the people it is from and to."""
    return with_placeholders(text, find_personal(text, region=region, names=names))
