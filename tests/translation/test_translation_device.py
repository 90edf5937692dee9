"""Evaluation, serving and streaming run where the machine's GPU would be."""

import pytest

from components.engines.base.paths import write_json
from components.engines.generation.decoding import Decoding
from components.translation.register import Register
from components.translation.serve import SETTINGS, Translator
from tests.stand_in_device import numbers, on_both
from tests.translation.small import DATA, SMALL, TRAIN, small


def test_the_model_and_what_it_is_given_are_on_the_device(tmp_path):
    room = small(tmp_path, ingest={"num_train": 200, "num_test": 20}).run_all(*DATA, *TRAIN)
    served = Register(decoding=Decoding(strategy="beam", num_beams=2, max_new_tokens=8)).model_dump(mode="json")
    write_json(room.data / "model" / SETTINGS, served | {"architecture": SMALL.model_dump(mode="json")})

    def run():
        translator = Translator.load(room.data / "model")
        streamed = list(translator.stream({"text": "the red cat sees."}))
        texts = [translator.predict(Translator.example)[0]["translation"], *streamed]
        return numbers(room.evaluate()), texts

    expected, found, there = on_both(run)
    assert "Embedding" in there
    assert found[0] == pytest.approx(expected[0], rel=1e-4, nan_ok=True)
    assert found[1] == expected[1]
