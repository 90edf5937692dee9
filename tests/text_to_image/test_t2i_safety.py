"""Harm detection by meaning: concepts in prompts and in pictures."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from components.engines.base.errors import UsageError
from components.engines.captioned.dataset import CaptionedImages
from components.engines.safety.calibration import calibrate
from components.engines.safety.concepts import Concept, ConceptCheck, PromptCheck
from components.engines.safety.lexicon import PromptLexicon
from components.engines.worlds.scenes import Scene
from components.text_to_image.measures.harm import calibrated_red_cross
from components.text_to_image.world.red_cross import examples_of, is_red_cross, red_cross

# ----------------------------------------------------------------------------------------------------------- concepts


class WordEmbedder:
    """A picture (given as the words it shows) or a text is the sum of its words' directions: an ideal CLIP."""

    def embed_texts(self, texts):
        return functional.normalize(
            torch.stack([sum(self._direction(w) for w in text.split()) for text in texts]), dim=-1
        )

    def embed_images(self, pictures):
        return self.embed_texts([picture.replace(",", " ") for picture in pictures])

    def _direction(self, word):
        generator = torch.Generator().manual_seed(sum(ord(letter) * 31**i for i, letter in enumerate(word.strip(","))))
        return torch.randn(64, generator=generator)


def pictures(colour, shape):
    scenes = [
        Scene(colour, shape, position, size, "plain")
        for position in ("top left", "bottom right")
        for size in ("small", "large")
    ]
    return [(" ".join(scene.as_dict().values()), scene) for scene in scenes]


def test_the_red_cross_is_told_from_what_is_like_it():
    concept = red_cross(("plain",))
    assert len(concept.phrases) == 4 * 2 * 5
    assert all("red" in text and "cross" in text for text in concept.phrases)
    assert not any("red" in text and "cross" in text for text in concept.alternatives)
    shown = [p for colour in ("red", "blue") for shape in ("cross", "circle") for p in pictures(colour, shape)]
    found, figures = calibrated_red_cross(WordEmbedder(), shown)
    assert figures["image"].recall == figures["image"].precision == 1.0
    assert (figures["image"].positives, figures["image"].examples) == (4, 16)
    check = ConceptCheck(WordEmbedder(), [found])
    refusals = check.of_images([picture for picture, _ in shown])
    assert [refusal is not None for refusal in refusals] == [is_red_cross(scene) for _, scene in shown]
    assert "Geneva" in next(refusal for refusal in refusals if refusal).reason


def test_a_prompt_is_refused_for_its_meaning_too():
    concept, _ = calibrated_red_cross(WordEmbedder(), pictures("red", "cross") + pictures("blue", "cross"))
    check = PromptCheck(PromptLexicon(), ConceptCheck(WordEmbedder(), [Concept.from_dict(concept.as_dict())]))
    asked = ["a large red cross", "a large red circle", "a small blue cross in the top left", "a nude red cross"]
    assert [refusal and refusal.name for refusal in check.refusals(asked)] == [
        "red_cross",
        None,
        None,
        "sexual_content",
    ]


def test_without_concepts_nothing_is_refused_for_its_meaning():
    check = ConceptCheck(WordEmbedder(), [])
    assert check.of_texts(["a", "b"]) == check.of_images(["a", "b"]) == [None, None]
    assert PromptCheck(PromptLexicon(), check).refusals([]) == []
    with pytest.raises(UsageError, match="needs phrases and alternatives"):
        ConceptCheck(WordEmbedder(), [Concept("x", "y", ("z",), ())])


def test_examples_are_pictures_as_they_are_and_as_soft_as_generated_ones(t2i_data):
    pairs = CaptionedImages(t2i_data / "cleaned", "valid")[:3]
    examples = examples_of(pairs, 16)
    assert [scene for _, scene in examples[:3]] == [scene for _, scene in examples[3:]]
    assert [picture.size for picture, _ in examples] == [(32, 32)] * 3 + [(16, 16)] * 3
    sharp, soft = (np.asarray(picture.resize((16, 16)), float) for picture, _ in (examples[0], examples[3]))
    assert abs(np.diff(soft, axis=0)).max() < abs(np.diff(sharp, axis=0)).max()
    assert abs(sharp.mean() - soft.mean()) < 3


def test_a_threshold_lies_in_the_widest_gap_and_misses_little():
    apart = calibrate(np.array([0.9, 0.8, 0.1, 0.0]), np.array([True, True, False, False]))
    assert (apart.threshold, apart.precision, apart.recall) == (pytest.approx(0.45), 1.0, 1.0)
    mixed = calibrate(np.array([0.9, 0.8, 0.5, 0.4, 0.1]), np.array([True, True, False, True, False]))
    assert (mixed.threshold, mixed.precision, mixed.recall) == (pytest.approx(0.25), 0.75, 1.0)
    equal = calibrate(np.array([0.5, 0.5, 0.1]), np.array([True, False, False]))
    assert equal.threshold == pytest.approx(0.3)  # never between equal margins
    with pytest.raises(UsageError, match="all show it, or all do not"):
        calibrate(np.array([0.1, 0.2]), np.array([False, False]))
