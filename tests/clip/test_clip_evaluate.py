"""What evaluation says: of a scorer that knows everything, of one that knows nothing, and of a model that was trained."""

import numpy as np
import pytest
import torch

from components.clip.measures.mismatches import any_other, meaning, one_attribute
from components.clip.measures.trial import Trial, example_scores, figures_of
from components.engines.base.errors import StageError
from components.engines.base.paths import read_json, read_jsonl
from components.engines.captioned.dataset import CaptionedImages
from components.engines.worlds.scenes import ATTRIBUTES, PHRASINGS, describe, scenes
from tests.clip.small import small
from tests.declared_figures import unwritten

CAPTIONS = {
    describe(scene, number): scene
    for held_out in (False, True)
    for scene in scenes(held_out=held_out)
    for number in range(len(PHRASINGS))
}


class Oracle:
    """Reads captions; sees images by being told, in their order, what is in them."""

    def __init__(self, shown):
        self.shown = shown

    def embed_images(self, pictures):
        return torch.stack([self._vector(scene) for scene in self.shown[: len(pictures)]])

    def embed_texts(self, captions):
        return torch.stack([self._vector(CAPTIONS[caption].as_dict()) for caption in captions])

    def _vector(self, scene):
        places = [value == scene[name] for name, values in ATTRIBUTES.items() for value in values]
        return torch.tensor(places, dtype=torch.float32) / 5**0.5


@pytest.fixture(scope="module")
def pairs(small_data):
    return list(CaptionedImages(small_data / "cleaned", "test"))


def test_mismatches_are_wrong_and_the_hard_ones_in_one_attribute_only(pairs):
    others = any_other(pairs, seed=0)
    assert all(CAPTIONS[caption].as_dict() != pair.scene for caption, pair in zip(others, pairs, strict=True))
    captions, changed = one_attribute(pairs, seed=0)
    for caption, name, pair in zip(captions, changed, pairs, strict=True):
        told = CAPTIONS[caption].as_dict()
        assert [key for key in told if told[key] != pair.scene[key]] == [name]
    with pytest.raises(StageError, match="say the same"):
        any_other(pairs[:1] * 3, seed=0)


def test_the_oracle_is_perfect_and_controls_are_at_chance(pairs):
    trial = Trial(pairs, Oracle([pair.scene for pair in pairs]), seed=0)
    figures = figures_of(trial, example_scores(trial))
    perfect = ("auc_any", "auc_one_attribute", "auc_unseen_any", "auc_unseen_one_attribute", "r_at_1")
    assert [figures[name] for name in perfect] == [1.0] * 5
    assert figures["r_at_1_text_to_image"] == 1
    for control in ("auc_random_scorer", "auc_shuffled_images"):
        assert abs(figures[control] - 0.5) < 0.25
    assert figures["r_at_1_chance"] < 0.2


def test_a_scorer_blind_to_one_attribute_is_found_out_by_its_slice(pairs):
    class ColourBlind(Oracle):
        def _vector(self, scene):
            return super()._vector({**scene, "colour": "red"})

    trial = Trial(pairs, ColourBlind([pair.scene for pair in pairs]), seed=0)
    changed = figures_of(trial, example_scores(trial))["slices"]["changed"]
    assert changed["colour"]["auc_one_attribute"] == 0.5
    assert all(changed[name]["auc_one_attribute"] == 1 for name in changed if name != "colour")


def test_rows_add_up_to_the_figures(tmp_path, small_room):
    room = small(tmp_path, small_room).run_all("train")
    figures = room.evaluate()
    assert unwritten("clip", figures) == []
    rows, settings = read_jsonl(room.reports / "scores.jsonl"), read_json(room.reports / "scores.json")
    assert len(rows) == figures["test_pairs"] == 40
    for name in settings["metrics"]:
        assert np.mean([row["metrics"][name] for row in rows]) == pytest.approx(figures[name])
    assert {row["slices"]["combination"] for row in rows} == {"seen", "unseen"}
    assert {row["kind"] for row in read_jsonl(room.reports / "samples.jsonl")} == {"bad", "good", "random"}
    assert 0 <= figures["auc_filter"] <= 1
    assert "valid_loss" in (room.reports / "train_curve.csv").read_text()


def test_captions_of_one_meaning_are_all_right(pairs):
    same = [pair for pair in pairs if meaning(pair) == meaning(pairs[0])]
    assert pairs[0] in same
