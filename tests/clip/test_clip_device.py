"""Evaluation and serving run where the machine's GPU would be."""

import pytest

from components.clip.register import Register
from components.clip.serve import SETTINGS, Scorer
from components.engines.base.paths import write_json
from tests.clip.small import DATA, small
from tests.stand_in_device import numbers, on_both


def test_the_model_and_what_it_is_given_are_on_the_device(tmp_path):
    room = small(tmp_path).run_all(*DATA, "train")
    settings = {"limits": Register().limits.model_dump(), "max_tokens": 32}
    write_json(room.data / "model" / SETTINGS, settings)

    def run():
        return numbers(room.evaluate()), Scorer.load(room.data / "model").predict(Scorer.example)[0]["score"]

    expected, found, there = on_both(run)
    assert "CLIPVisionEmbeddings" in there
    assert found[0] == pytest.approx(expected[0], nan_ok=True)
    assert found[1] == pytest.approx(expected[1])
