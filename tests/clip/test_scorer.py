"""The inference pipeline: scores for pairs, embeddings for what stands alone, a reason for what is no image."""

import pytest

from components.clip.serve import SETTINGS, Scorer, flat_png
from components.clip.train import start
from components.engines.base.errors import UsageError
from components.engines.base.paths import write_json
from components.engines.captioned.dataset import CaptionedImages
from components.engines.images.decode import Limits, decode_image
from components.engines.worlds.captioned import bomb
from tests.clip.small import SMALL


@pytest.fixture(scope="module")
def served(small_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    start(SMALL, small_data / "tokenizer", seed=0).save(folder)
    write_json(folder / SETTINGS, {"limits": Limits().model_dump(), "max_tokens": 32})
    return folder


def test_a_pair_has_the_cosine_of_its_embeddings(served, small_data):
    scorer = Scorer.load(served)
    one = CaptionedImages(small_data / "cleaned", "test")[0]
    pair, image, text = scorer.predict(
        [{"image": one.image, "text": one.caption}, {"image": one.image}, {"image": None, "text": one.caption}]
    )
    cosine = sum(a * b for a, b in zip(image["embedding"], text["embedding"], strict=True))
    assert pair["score"] == pytest.approx(cosine, abs=1e-6)
    assert sum(a * a for a in image["embedding"]) == pytest.approx(1, abs=1e-5)
    assert (pair["embedding"], image["score"], pair["problem"]) == (None, None, None)


def test_no_image_is_told_and_the_others_are_answered(served):
    scorer = Scorer.load(served)
    answers = scorer.predict(
        [{"image": data, "text": "x"} for data in (bomb(50_000), b"", b"text", flat_png(9, (1, 2, 3)))]
    )
    assert [(one["problem"] or "").split(":")[0] for one in answers] == [
        "too many pixels", "empty file", "not an image", "",
    ]  # fmt: skip
    assert [one["score"] is None for one in answers] == [True, True, True, False]
    first, second = scorer.predict([{"text": "x"}, {}])
    assert first["embedding"]
    assert second["problem"].startswith("neither image nor text")
    with pytest.raises(UsageError, match=r"No option called num_beams.*it has no options"):
        scorer.predict([{"text": "x"}], num_beams=2)
    assert scorer.predict([]) == []


def test_an_answer_does_not_depend_on_what_is_asked_beside_it(served):
    scorer = Scorer.load(served)
    asked = [{"image": flat_png(32, (shade, 9, 9)), "text": "red " * length} for shade, length in ((9, 1), (200, 9))]
    together = [one["score"] for one in scorer.predict(asked)]
    assert together == pytest.approx([scorer.predict([one])[0]["score"] for one in asked], abs=1e-6)


def test_the_example_is_made_of_real_pictures():
    pictures = [decode_image(one["image"], Limits()) for one in Scorer.example if one["image"]]
    assert [picture.getpixel((3, 3)) for picture in pictures] == [(220, 40, 40), (50, 70, 220)]
