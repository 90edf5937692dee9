"""Prompt enhancement by retrieval: a short prompt is said as fully as the captions that the model was trained on.

Only a caption that holds every word of the prompt may stand in for it, so nothing the user said is lost or contradicted.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.engines.base.errors import StageError
from components.engines.base.paths import read_jsonl, write_jsonl
from components.engines.base.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor

    from components.engines.scoring.embedder import Embedder

CAPTIONS, VECTORS = "captions.jsonl", "captions.safetensors"

# Words that say nothing of what is in the picture.
_FILLERS = frozenset(
    "a an the of in on at to and or with there is are was it its that this these those i you we me my your want would like "
    "please make paint draw show give generate create some "
    "picture pictures image images photo photograph drawing painting".split()
)


def content_words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W_]+", text.casefold())) - _FILLERS


class Enhancer:
    """An index of captions: distinct ones, their content words, their CLIP text embeddings [captions, width]."""

    def __init__(self, captions: Sequence[str], vectors: Tensor, embedder: Embedder, num_nearest: int) -> None:
        self.captions, self.vectors, self.embedder, self.num_nearest = list(captions), vectors, embedder, num_nearest
        self.meanings = [content_words(caption) for caption in self.captions]
        self.complete = set(self.meanings)
        self.holding: dict[str, list[int]] = defaultdict(list)
        for place, meaning in enumerate(self.meanings):
            for word in meaning:
                self.holding[word].append(place)

    @classmethod
    def load(cls, folder: Path, embedder: Embedder, num_nearest: int = 8) -> Enhancer:
        from safetensors.torch import load_file

        captions = [row["caption"] for row in read_jsonl(folder / CAPTIONS)]
        vectors = load_file(folder / VECTORS)["captions"]
        if len(captions) != len(vectors):
            raise StageError(
                f"{len(captions)} captions have {len(vectors)} embeddings",
                where=str(folder),
                do="register the model again",
            )
        return cls(captions, vectors, embedder, num_nearest)

    def enhance(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[str]:
        """Each prompt, or one of the `num_nearest` captions nearest to it that say all it says; which one is up to its seed.

        A prompt that says as much as some caption does stays as it is, and so does one with a word that no such caption has.
        """
        candidates = [self._candidates(prompt) for prompt in prompts]
        asked = [place for place, found in enumerate(candidates) if found]
        enhanced = list(prompts)
        if not asked:
            return enhanced
        vectors = self.embedder.embed_texts([prompts[place] for place in asked])
        for place, vector in zip(asked, vectors, strict=True):
            enhanced[place] = self.captions[self._nearest(vector, candidates[place], seeds[place])]
        return enhanced

    def _candidates(self, prompt: str) -> list[int]:
        asked = content_words(prompt)
        if not asked or asked in self.complete:
            return []
        rarest = min((self.holding.get(word, []) for word in asked), key=len)
        return [place for place in rarest if asked <= self.meanings[place]]

    def _nearest(self, vector: Tensor, candidates: list[int], seed: int) -> int:
        import torch

        cosines = self.vectors[torch.tensor(candidates)] @ vector
        nearest = cosines.argsort(descending=True, stable=True)[: self.num_nearest]
        return candidates[int(nearest[derive(seed, "enhancement") % len(nearest)])]


def write_captions(
    folder: Path, captions: Sequence[str], embedder: Embedder, refused: Callable[[Sequence[str]], Sequence[Any]]
) -> int:
    """Write the index of these captions, every one once, without those that nobody would get a picture of; returns how many.

    `refused`: texts -> for each a reason or None (safety.PromptCheck.refusals). A harmless prompt must not become a harmful one.
    """
    from components.engines.training.checkpoints.weights import write_tensors

    distinct = sorted(set(captions))
    kept = [text for text, reason in zip(distinct, refused(distinct), strict=True) if reason is None]
    if not kept:
        raise StageError("No caption is left to enhance prompts with", do="look at the concepts and words of safety")
    write_jsonl(folder / CAPTIONS, ({"caption": caption} for caption in kept))
    write_tensors(folder / VECTORS, {"captions": embedder.embed_texts(kept)})
    return len(kept)
