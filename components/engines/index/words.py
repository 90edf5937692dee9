"""BM25 (Robertson et al. 1994; Lucene's idf, which is never negative) over an inverted index."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

K1, B = 1.2, 0.75
SMALL = frozenset(  # English words that name nothing
    "a an the of in on at to for by with and or is are was were be it its this that there from as how what who when where which "
    "under please".split()
)
_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    return _WORD.findall(text.lower())


class Words:
    """Scores of texts for queries. Built from the texts alone, so it forgets whatever they no longer hold."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(words_of(text)) for text in texts]
        lengths = np.array([sum(count.values()) for count in counts], np.float64)
        self.size = len(texts)
        postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for place, count in enumerate(counts):
            for word, times in count.items():
                postings[word].append((place, times))
        self._postings: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        scale = K1 * (1 - B + B * lengths / max(lengths.mean() if len(lengths) else 1.0, 1e-9))
        for word, found in postings.items():
            places = np.array([place for place, _ in found])
            often = np.array([times for _, times in found], np.float64)
            idf = math.log(1 + (self.size - len(found) + 0.5) / (len(found) + 0.5))
            self._postings[word] = places, idf * often * (K1 + 1) / (often + scale[places])

    def scores(self, query: str) -> np.ndarray:
        """float64 [texts]; 0 where no word is shared."""
        total = np.zeros(self.size)
        for word in words_of(query):
            if word in self._postings:
                places, gains = self._postings[word]
                total[places] += gains
        return total

    def idf(self, word: str) -> float:
        """How much a word tells; of one that no text holds, the most."""
        found = len(self._postings[word][0]) if word in self._postings else 0
        return math.log(1 + (self.size - found + 0.5) / (found + 0.5))
