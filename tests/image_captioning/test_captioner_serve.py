"""The inference pipeline: a caption and its score for what is an image, a reason for what is none."""

import base64

import pytest

from components.engines.base.errors import UsageError
from components.engines.base.paths import write_json
from components.engines.captioned.dataset import CaptionedImages
from components.engines.images.decode import Limits, decode_image, flat_png
from components.engines.worlds.captioned import bomb
from components.image_captioning.register import Register
from components.image_captioning.serve import SETTINGS, Captioner
from components.image_captioning.train import start
from tests.image_captioning.small import DECODING, SMALL


@pytest.fixture(scope="module")
def served(small_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    start(SMALL, small_data / "tokenizer", seed=0).save(folder)
    write_json(folder / SETTINGS, Register(decoding=DECODING).model_dump(mode="json"))
    return folder


def test_images_get_captions_in_their_order_whatever_is_asked_beside_them(served, small_data):
    captioner = Captioner.load(served)
    asked = [{"image": one.image} for one in CaptionedImages(small_data / "cleaned", "test")[:4]]
    together = captioner.predict(asked)
    alone = [captioner.predict([one])[0] for one in asked]
    assert [one["caption"] for one in together] == [one["caption"] for one in alone]
    assert [one["score"] for one in together] == pytest.approx([one["score"] for one in alone], abs=1e-4)
    assert all(one["score"] < 0 and one["problem"] is None for one in together)
    assert captioner.predict([]) == []


def test_no_image_is_told_and_the_others_are_answered(served):
    captioner = Captioner.load(served)
    asked = [bomb(50_000), b"", b"text", flat_png(9, (1, 2, 3)), None, flat_png(32, (1, 2, 3))[:60]]
    answers = captioner.predict([{"image": one} for one in asked] + [{}])
    assert [(one["problem"] or "").split(":")[0] for one in answers] == [
        "too many pixels", "empty file", "not an image", "", "empty file", "damaged image", "empty file",
    ]  # fmt: skip
    assert [one["caption"] is None for one in answers] == [one["problem"] is not None for one in answers]
    assert [one["score"] is None for one in answers] == [one["problem"] is not None for one in answers]
    assert captioner.predict([{"image": base64.b64encode(flat_png(9, (1, 2, 3)))}])[0]["problem"].startswith(
        "not an image"
    )


def test_captions_are_made_inclusive_unless_told_otherwise(served, monkeypatch):
    class Saying:
        def caption(self, pictures, decoding):
            from components.engines.generation.text import Generated

            return [Generated("a fireman with his dog", -0.5, [1], True) for _ in pictures]

    def said(inclusive):
        pipeline = Captioner(Saying(), DECODING, Limits(), inclusive=inclusive)
        return pipeline.predict([{"image": flat_png(9, (1, 2, 3))}])

    assert said(True) == [{"caption": "a firefighter with their dog", "score": -0.5, "refused": None, "problem": None}]
    assert said(False)[0]["caption"] == "a fireman with his dog"


def test_decoding_can_be_chosen_per_call(served):
    captioner = Captioner.load(served)
    asked = [{"image": flat_png(32, (200, 20, 20))}]
    short = captioner.predict(asked, max_new_tokens=1)[0]["caption"]
    assert len(short) < len(captioner.predict(asked)[0]["caption"])
    with pytest.raises(UsageError, match="num_beams means nothing"):
        captioner.predict(asked, strategy="greedy")


def test_the_example_is_made_of_real_pictures():
    pictures = [decode_image(one["image"], Limits()) for one in Captioner.example]
    assert [picture.size for picture in pictures] == [(32, 32), (48, 48)]
