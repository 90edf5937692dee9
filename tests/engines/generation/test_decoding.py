"""Decoding params: contradictions name the key, and a checkpoint's own defaults do not come through."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import GenerationConfig

from components.engines.base.errors import UsageError
from components.engines.base.params import parse_section
from components.engines.generation.decoding import Decoding, to_generation_config


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"strategy": "greedy", "temperature": 0.7}, "temperature means nothing with strategy 'greedy', only with sample"),
        ({"temperature": 0.7}, "temperature"),
        ({"strategy": "beam", "top_p": 0.9}, "top_p"),
        ({"strategy": "sample", "num_beams": 4}, "num_beams"),
        ({"strategy": "sample", "length_penalty": 1.0}, "length_penalty"),
        ({"strategy": "greedy", "early_stopping": True}, "early_stopping"),
        ({"num_return_sequences": 2}, "num_return_sequences means nothing with strategy 'greedy'"),
        ({"strategy": "beam", "num_beams": 2, "num_return_sequences": 3}, "num_return_sequences 3 is more than num_beams 2"),
        ({"strategy": "sample", "temperature": 0}, "generation.temperature"),
        ({"strategy": "sample", "top_p": 1.5}, "generation.top_p"),
        ({"strategy": "sample", "top_k": 0}, "generation.top_k"),
        ({"max_new_tokens": 0}, "generation.max_new_tokens"),
        ({"strategy": "nucleus"}, "generation.strategy"),
        ({"beams": 4}, "unknown key 'generation.beams'"),
    ],
)  # fmt: skip
def test_contradictions_are_refused_by_name(values, words):
    with pytest.raises(UsageError, match=words):
        parse_section(Decoding, values, "generation", Path("params.yaml"))


def test_defaults_are_greedy_and_beam_means_four():
    assert (Decoding().strategy, Decoding().beams) == ("greedy", 1)
    assert Decoding(strategy="beam").beams == 4
    assert Decoding(strategy="beam", num_beams=1).beams == 1


@given(st.integers(1, 500), st.floats(0.1, 5))
def test_limit_follows_the_length_below_the_cap(length, ratio):
    limit = Decoding(max_new_tokens=200, max_length_ratio=ratio).limit(length)
    assert min(200, ratio * length) <= limit <= min(200, ratio * length + 8)
    assert Decoding(max_new_tokens=200).limit(length) == 200


class Checkpoint:
    """A model whose own generation config is full of opinions, as those on the hub are."""

    generation_config = GenerationConfig(
        num_beams=6, max_length=512, length_penalty=0.6, repetition_penalty=1.3, no_repeat_ngram_size=3, bos_token_id=7,
        eos_token_id=[1, 2], pad_token_id=0, decoder_start_token_id=0, bad_words_ids=[[5]], forced_bos_token_id=9,
    )  # fmt: skip


def test_strategy_comes_from_params_and_token_ids_from_the_checkpoint():
    config = to_generation_config(Decoding(max_new_tokens=10), Checkpoint())
    assert (config.num_beams, config.length_penalty, config.repetition_penalty) == (1, 1.0, 1.0)
    assert (config.no_repeat_ngram_size, config.do_sample, config.max_new_tokens) == (0, False, 10)
    assert (config.eos_token_id, config.bad_words_ids, config.forced_bos_token_id) == ([1, 2], [[5]], 9)
    beam = Decoding(strategy="beam", num_beams=3, length_penalty=0.5, early_stopping=True, num_return_sequences=2)
    config = to_generation_config(beam, Checkpoint(), max_new_tokens=5)
    assert (config.num_beams, config.length_penalty, config.early_stopping) == (3, 0.5, True)
    assert (config.num_return_sequences, config.max_new_tokens) == (2, 5)
