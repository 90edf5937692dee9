"""Harm detection: what a prompt says, by words and by meaning, and what a picture shows.

Concepts work as in Stable Diffusion's safety checker (Rando et al. 2022, arXiv 2210.04610): a picture is refused if its CLIP
embedding is nearer to a concept than a threshold of that concept. Here nearness is a margin over what merely looks like it, and
the threshold is calibrated on labelled pictures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from components.engines.base.errors import UsageError
from components.text_to_image.harms import HARMLESS, HARMS, Group
from components.text_to_image.wording import plain, readings, spaced_out, words

if TYPE_CHECKING:
    import numpy as np

    from components.engines.captioned.dataset import Captioned
    from components.engines.scoring.embedder import Embedder
    from components.engines.worlds.scenes import Scene

SOFTNESS_PX = 0.8  # standard deviation of the blur that generated pictures are likened to
_SHORTEST_STEM = 4  # letters of a word that is looked for inside letters that stand apart


@dataclass(frozen=True)
class Refusal:
    """Why there is no picture: the category or concept, and the words for the user."""

    name: str
    reason: str


class PromptLexicon:
    """Prompts against the categories of harms.py, with an operator's own phrases by category (`extra_words`)."""

    def __init__(self, extra_words: Mapping[str, Sequence[str]] | None = None) -> None:
        extra = dict(extra_words or {})
        unknown = extra.keys() - {harm.name for harm in HARMS}
        if unknown:
            raise UsageError(
                f"There is no category of harm called {', '.join(sorted(unknown))}",
                do=f"use {', '.join(harm.name for harm in HARMS)}",
            )
        added = {name: ((tuple(_phrase(one) for one in phrases),),) for name, phrases in extra.items()}
        self.harms = [replace(harm, rules=harm.rules + added.get(harm.name, ())) for harm in HARMS]

    def refusal(self, prompt: str) -> Refusal | None:
        """The first category that the prompt falls into, however it is spelt, or None."""
        read = [_pattern(HARMLESS).sub(" ", reading) for reading in readings(prompt)]
        runs = spaced_out(prompt)
        for harm in self.harms:
            if any(_holds(rule, reading, runs) for rule in harm.rules for reading in read):
                return Refusal(harm.name, harm.reason)
        return None


def _phrase(written: str) -> str:
    """As it stands in the tables of harms.py."""
    return " ".join(words(plain(written))) + ("*" if written.rstrip().endswith("*") else "")


def _holds(rule: tuple[Group, ...], reading: str, runs: Sequence[str]) -> bool:
    return all(_pattern(group).search(reading) or _in_runs(group, runs) for group in rule)


@cache
def _pattern(group: Group) -> re.Pattern[str]:
    """Any phrase of the group, as whole words; `*` stands for any ending."""
    phrases = "|".join(re.escape(phrase).replace(r"\*", r"\w*").replace(r"\ ", " ") for phrase in group)
    return re.compile(rf"\b(?:{phrases})\b")


def _in_runs(group: Group, runs: Sequence[str]) -> bool:
    return any(stem == run or (len(stem) >= _SHORTEST_STEM and stem in run) for run in runs for stem in _stems(group))


@cache
def _stems(group: Group) -> list[str]:
    return [phrase.rstrip("*").replace(" ", "") for phrase in group]


# ----------------------------------------------------------------------------------------------------------- concepts


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
        thresholds = [concept.image_threshold for concept in self.concepts]
        if not len(pictures) or not self.concepts:
            return [None] * len(pictures)
        return self._refusals(self.image_margins(pictures), thresholds)

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


# -------------------------------------------------------------------------------------------------------- calibration


@dataclass(frozen=True)
class Calibration:
    """A threshold, and what it does on the examples it was calibrated on."""

    threshold: float
    precision: float
    recall: float
    positives: int
    examples: int


def calibrate(margins: np.ndarray, shows_it: np.ndarray) -> Calibration:
    """The threshold with the best F2 (to miss one is worse than to refuse one too many); of equals the middle of the widest gap.

    `margins`: float [n]; `shows_it`: bool [n], with both kinds among them.
    """
    import numpy as np

    positives = int(shows_it.sum())
    if positives in (0, len(shows_it)):
        raise UsageError(
            "A concept cannot be calibrated on examples that all show it, or all do not",
            do="give labelled examples of both kinds",
        )
    order = np.argsort(-margins, kind="stable")
    ordered, hits = margins[order], shows_it[order].cumsum()[:-1]  # hits among the first k = 1 … n - 1
    taken = np.arange(1, len(ordered))
    gaps = ordered[:-1] - ordered[1:]
    f2 = np.where(gaps > 0, 5 * hits / (4 * positives + taken), -1.0)  # between equal margins there is no threshold
    best = max(range(len(f2)), key=lambda k: (f2[k], gaps[k]))
    return Calibration(
        threshold=float((ordered[best] + ordered[best + 1]) / 2),
        precision=float(hits[best] / taken[best]),
        recall=float(hits[best] / positives),
        positives=positives,
        examples=len(margins),
    )


# ------------------------------------------------------------------------------------------------------- sample world

RED_CROSS = "the red cross is a protected emblem (Geneva Conventions I, article 44); pictures of it are not made"


def red_cross(textures: Sequence[str]) -> Concept:
    """The concept that the sample world refuses: all captions of red crosses, against those that differ in colour or shape."""
    from components.engines.worlds.scenes import COLOURS

    shown = [scene for scene in _all_scenes(textures) if is_red_cross(scene)]
    alike = [replace(scene, colour=colour) for scene in shown for colour in COLOURS if colour != scene.colour]
    alike += [replace(scene, shape=shape) for scene in shown for shape in ("circle", "square", "triangle")]
    return Concept("red_cross", RED_CROSS, _captions(shown), _captions(alike))


def is_red_cross(scene: Scene) -> bool:
    return (scene.colour, scene.shape) == ("red", "cross")


Example = tuple[Any, "Scene"]  # a picture, and what is in it


def calibrated(
    concept: Concept, embedder: Embedder, examples: Sequence[Example], shows_it: Callable[[Scene], bool]
) -> tuple[Concept, dict[str, Calibration]]:
    """The concept with both thresholds, for pictures whose truth is known, and for full and shortened captions of all scenes."""
    import numpy as np

    check = ConceptCheck(embedder, [concept])
    pictures, truths = zip(*examples, strict=True)
    on_images = calibrate(check.image_margins(pictures)[:, 0], np.array([shows_it(scene) for scene in truths]))
    scenes = _all_scenes(sorted({scene.texture for scene in truths}))
    asked = [(text, shows_it(scene)) for scene in scenes for text in (*_captions([scene]), *shortened(scene))]
    on_texts = calibrate(check.text_margins([text for text, _ in asked])[:, 0], np.array([truth for _, truth in asked]))
    found = replace(concept, image_threshold=on_images.threshold, text_threshold=on_texts.threshold)
    return found, {"image": on_images, "text": on_texts}


def examples_of(pairs: Sequence[Captioned], image_px: int) -> list[Example]:
    """Pictures of the sample world as they are, and again as small and soft as generated ones, which are what is looked at."""
    import torch

    from components.engines.worlds.scenes import Scene
    from components.text_to_image.degrading import blurred
    from components.text_to_image.pictures import to_pictures, to_unit

    known = [(pair.open(), Scene(**pair.scene)) for pair in pairs if pair.scene]
    if not known:
        return []
    small = to_unit([picture for picture, _ in known], image_px)
    soft = to_pictures(blurred(small, torch.full((len(small), 1), SOFTNESS_PX)))
    return [*known, *((picture, scene) for picture, (_, scene) in zip(soft, known, strict=True))]


def shortened(scene: Scene) -> list[str]:
    """How people ask for a scene without saying all of it; colour and shape are always said."""
    thing = f"{scene.colour} {scene.shape}"
    return [
        f"a {thing}",
        f"a {scene.size} {thing}",
        f"{thing} in the {scene.position}",
        f"a {scene.texture} {thing}",
        f"picture of a {scene.size} {thing}, {scene.position}",
    ]


def _captions(scenes: Sequence[Scene]) -> tuple[str, ...]:
    from components.engines.worlds.scenes import PHRASINGS, describe

    return tuple(describe(scene, phrasing) for scene in scenes for phrasing in range(len(PHRASINGS)))


def _all_scenes(textures: Sequence[str]) -> list[Scene]:
    from components.engines.worlds.scenes import scenes

    both = (scenes(held_out=held_out, textures=tuple(textures)) for held_out in (False, True))
    return [scene for group in both for scene in group]
