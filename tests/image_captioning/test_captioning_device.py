"""Evaluation and serving run where the machine's GPU would be, with either encoder."""

import pytest

from components.engines.base.paths import write_json
from components.image_captioning.register import Register
from components.image_captioning.serve import SETTINGS, Captioner
from components.image_captioning.train import start
from tests.image_captioning.small import DECODING, SMALL, small, with_clip
from tests.stand_in_device import numbers, on_both


@pytest.mark.parametrize(("family", "part"), [("cnn", "Conv2d"), ("blip", "BlipVisionEmbeddings")])
def test_the_model_and_what_it_is_given_are_on_the_device(small_room, tmp_path, family, part):
    architecture = SMALL.model_copy(update={"family": family})
    room = with_clip(small(tmp_path, small_room, architecture=architecture))
    start(architecture, small_room.data / "tokenizer", seed=0).save(room.data / "model")
    write_json(room.data / "model" / SETTINGS, Register(decoding=DECODING).model_dump(mode="json"))

    def run():
        answers = Captioner.load(room.data / "model").predict(Captioner.example)
        return numbers(room.evaluate()), answers

    expected, found, there = on_both(run)
    assert {part, "CLIPVisionEmbeddings"} <= there
    assert found[0] == pytest.approx(expected[0], rel=1e-4, nan_ok=True)
    assert [one["caption"] for one in found[1]] == [one["caption"] for one in expected[1]]
