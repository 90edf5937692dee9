"""Texts that nearly repeat an earlier one: MinHash (Broder 1997) over shingles of words, by datasketch."""

from __future__ import annotations

import re
from typing import Any

_PERMUTATIONS = 64
_SHINGLE_WORDS = 3


class NearCopies:
    """Texts that were added, about 2 kB each; a text is a copy of one if their shingles' Jaccard similarity is at least
    `similarity`, as 64 permutations estimate it (standard error .05 at .8)."""

    def __init__(self, similarity: float) -> None:
        from datasketch import MinHashLSH

        self.similarity = similarity
        self._index = MinHashLSH(threshold=similarity, num_perm=_PERMUTATIONS)
        self._prints: dict[str, Any] = {}

    def original(self, key: str, text: str, among: str = "") -> str | None:
        """The key of an earlier text of the same group `among` that this one repeats; where there is none, it is added."""
        from datasketch import MinHash

        made = MinHash(_PERMUTATIONS, seed=1)
        made.update_batch([f"{among}\0{shingle}".encode() for shingle in _shingles(text)])
        for other in sorted(self._index.query(made)):
            if self._prints[other].jaccard(made) >= self.similarity:
                return str(other)
        self._index.insert(key, made)
        self._prints[key] = made
        return None


def _shingles(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[start : start + _SHINGLE_WORDS]) for start in range(max(len(words) - _SHINGLE_WORDS + 1, 1))}
