"""Harm detection by meaning: what a prompt asks for and what a picture shows. Words are told by lexicon.py.

Concepts work as in Stable Diffusion's safety checker (Rando et al. 2022, arXiv 2210.04610): a picture is refused if its CLIP
embedding is nearer to a concept than a threshold of that concept. Here nearness is a margin over what merely looks like it, and
the threshold is calibrated on labelled pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from components.engines.base.errors import UsageError
from components.engines.safety.lexicon import PromptLexicon, Refusal

if TYPE_CHECKING:
    import numpy as np

    from components.engines.scoring.embedder import Embedder


@dataclass(frozen=True)
class Concept:
    """Something that is not to be painted, told by captions of it and of what is like it but harmless.

    The margin of an embedding is its cosine with the nearest of `phrases` less that with the nearest of `alternatives`; above
    `image_threshold` a picture shows it, above `text_threshold` a prompt asks for it.
    """

    name: str
    reason: str
    phrases: tuple[str, ...]
    alternatives: tuple[str, ...]
    image_threshold: float = 0.0
    text_threshold: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> Concept:
        return cls(**{**written, "phrases": tuple(written["phrases"]), "alternatives": tuple(written["alternatives"])})


class ConceptCheck:
    """Concepts in the space of a CLIPModel."""

    def __init__(self, embedder: Embedder, concepts: Sequence[Concept]) -> None:
        self.embedder, self.concepts = embedder, tuple(concepts)
        for concept in self.concepts:
            if not concept.phrases or not concept.alternatives:
                raise UsageError(f"Concept '{concept.name}' needs phrases and alternatives", where="concepts")
        self.places = [
            (embedder.embed_texts(concept.phrases), embedder.embed_texts(concept.alternatives))
            for concept in self.concepts
        ]

    def image_margins(self, pictures: Sequence[Any]) -> np.ndarray:
        """RGB pictures -> [pictures, concepts]."""
        return self._margins(self.embedder.embed_images(pictures))

    def text_margins(self, texts: Sequence[str]) -> np.ndarray:
        """[texts, concepts]"""
        return self._margins(self.embedder.embed_texts(texts))

    def _margins(self, vectors: Any) -> np.ndarray:
        import numpy as np

        columns = [
            (vectors @ phrases.T).max(1).values - (vectors @ alternatives.T).max(1).values
            for phrases, alternatives in self.places
        ]
        return np.stack([column.double().numpy() for column in columns], axis=1)

    def of_texts(self, texts: Sequence[str]) -> list[Refusal | None]:
        thresholds = [concept.text_threshold for concept in self.concepts]
        return self._refusals(self.text_margins(texts), thresholds) if texts and self.concepts else [None] * len(texts)

    def of_images(self, pictures: Sequence[Any]) -> list[Refusal | None]:
        if not len(pictures) or not self.concepts:
            return [None] * len(pictures)
        return self.of_image_vectors(self.embedder.embed_images(pictures))

    def of_image_vectors(self, vectors: Any) -> list[Refusal | None]:
        """Of pictures that are embedded already, [pictures, embedding_dim]."""
        if not len(vectors) or not self.concepts:
            return [None] * len(vectors)
        return self._refusals(self._margins(vectors), [concept.image_threshold for concept in self.concepts])

    def _refusals(self, margins: np.ndarray, thresholds: Sequence[float]) -> list[Refusal | None]:
        found: list[Refusal | None] = []
        for row in margins:
            over = [c for c, margin, limit in zip(self.concepts, row, thresholds, strict=True) if margin > limit]
            found.append(Refusal(over[0].name, over[0].reason) if over else None)
        return found


class PromptCheck:
    """Words first, then meaning."""

    def __init__(self, lexicon: PromptLexicon, concepts: ConceptCheck) -> None:
        self.lexicon, self.concepts = lexicon, concepts

    def refusals(self, prompts: Sequence[str]) -> list[Refusal | None]:
        meant = self.concepts.of_texts(prompts)
        return [self.lexicon.refusal(prompt) or concept for prompt, concept in zip(prompts, meant, strict=True)]
