"""What evaluation says: of a captioner that knows everything, of one that sees nothing, of a trained one, and of real data."""

import io

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

from components.engines.base.paths import read_json, read_jsonl
from components.engines.captioned.dataset import CaptionedImages
from components.engines.generation.text import Generated
from components.engines.worlds.scenes import PHRASINGS, Scene, describe
from components.image_captioning.evaluate import Evaluate
from components.image_captioning.ingest import Ingest
from components.image_captioning.measures.trial import Trial, examples_of
from tests.clip.small import DATA
from tests.declared_figures import unwritten
from tests.image_captioning.small import DECODING, small, with_clip

PARAMS = Evaluate(decoding=DECODING)


class Knowing:
    """Says what it is told to say of each picture, in their order."""

    def __init__(self, captions):
        self.captions = captions

    def caption(self, pictures, decoding, **options):
        assert len(pictures) == len(self.captions)
        return [Generated(text, 0.0, [], True) for text in self.captions]


class Embedding:
    """Texts of equal words are equal; pictures fit nothing in particular."""

    def embed_images(self, pictures):
        return torch.ones(len(pictures), 4)

    def embed_texts(self, texts):
        return torch.tensor([[1.0, len(text), text.count("a"), text.count("e")] for text in texts])


def tried(data, captions_of):
    examples = examples_of(data / "cleaned")
    captioner = Knowing([captions_of(one) for one in examples])
    trial = Trial(data / "cleaned", captioner, Embedding(), decoding=PARAMS.decoding, batch_size=64, seed=PARAMS.seed)
    rows = trial.example_scores()
    return trial, rows, trial.figures(rows)


def test_one_who_knows_is_perfect_in_other_words_too_and_controls_are_at_chance(small_data):
    _, _, figures = tried(small_data, lambda one: describe(one.scene, len(one.key) + int(one.key)))
    assert [
        figures[name] for name in ("exact", "exact_seen", "exact_unseen", "colour_accuracy", "texture_accuracy")
    ] == [1] * 5
    assert figures["bleu"] == pytest.approx(100)
    assert figures["exact_shuffled_images"] < 0.15
    assert figures["exact_most_common"] < 0.15
    assert figures["exact_chance"] < 0.1
    assert figures["cider_another_phrasing"] < figures["cider"] == pytest.approx(figures["cider_reference"], rel=0.2)
    assert max(figures["cider_shuffled_images"], figures["cider_most_common"]) < 0.5 * figures["cider"]
    assert figures["references_per_image"] == len(PHRASINGS)


def test_one_wrong_attribute_is_not_exact_and_shows_which(small_data):
    def colour_blind(one):
        return describe(Scene(**{**one.scene.as_dict(), "colour": "red"}), 0)

    _, rows, figures = tried(small_data, colour_blind)
    assert figures["exact"] == figures["colour_accuracy"] < 0.5
    assert figures["shape_accuracy"] == figures["size_accuracy"] == 1
    assert all(row["metrics"]["exact"] == row["metrics"]["colour"] for row in rows)


def test_rows_add_up_to_the_figures_and_pictures_lie_beside_the_samples(small_room, tmp_path):
    room = small(tmp_path, small_room).run_all("train")
    figures = with_clip(room).evaluate()
    assert unwritten("image_captioning", figures) == []
    rows, told = read_jsonl(room.reports / "scores.jsonl"), read_json(room.reports / "scores.json")
    assert len(rows) == figures["test_images"] == 40
    for name in ("cider", "rouge_l", "clip_score", "exact"):
        assert np.mean([row["metrics"][name] for row in rows]) == pytest.approx(figures[name])
        assert told["metrics"][name] == {"aggregate": "mean", "higher_is_better": True}
    assert told["metrics"]["bleu"]["aggregate"] == "bleu"
    assert {row["slices"]["combination"] for row in rows} == {"seen", "unseen"}
    assert figures["clip_score_reference"] != figures["clip_score_shuffled_images"]
    samples = read_jsonl(room.reports / "samples.jsonl")
    assert len(samples) == 6
    shown = {one.key: one for one in CaptionedImages(small_room.data / "cleaned", "test")}
    for sample in samples:
        assert (room.reports / sample["pictures"]["image"]).read_bytes() == shown[sample["id"]].image
    assert len(list((room.reports / "gallery").iterdir())) <= 6


def test_all_captions_of_an_image_are_its_references(tmp_path):
    rng = np.random.default_rng(0)
    words = "dog cat tree car boat house bird horse".split()
    rows = []
    for number in range(160):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(buffer, "PNG")
        rows += [
            {"image": buffer.getvalue(), "caption": f"A {words[number % 8]} {way}"}
            for way in ("outside", "seen", "alone")
        ]
    pandas.DataFrame(rows).to_parquet(tmp_path / "images.parquet")
    source = Ingest(source=str(tmp_path / "images.parquet"), valid_fraction=0.2, test_fraction=0.3)
    room = small(tmp_path, ingest=source, clean={"copies": "pair"}).run_all(*DATA)
    examples = examples_of(room.data / "cleaned")
    assert 3 * len(examples) == len(CaptionedImages(room.data / "cleaned", "test"))
    assert all(len(one.references) == 3 and one.references[0].startswith("a ") for one in examples)
    _, rows, figures = tried(room.data, lambda one: one.references[1].upper())
    assert figures["references_per_image"] == 3
    assert figures["rouge_l"] == 1
    assert "exact" not in figures
    assert rows[0]["slices"] == {"length": "1-5"}
