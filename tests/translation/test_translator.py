"""The inference pipeline: empty stays empty, long texts are split, loops are cut, single equals batch."""

import json

import pytest
from tokenizers import Tokenizer as Fast
from tokenizers import models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from components.engines.base.paths import write_json
from components.engines.base.seeds import seed_everything
from components.engines.generation.text import Generated
from components.engines.language.seq2seq import shift_right
from components.translation.architecture import Architecture
from components.translation.networks import marian as networks
from components.translation.serve import SETTINGS, Translator
from components.translation.tasks.denoising import mask
from components.translation.tokenizer import SPECIAL

WORDS = ["the", "red", "cat", "sees", "dog", ".", "il", "gato", "roso", "vede"]


def tiny_tokenizer():
    vocabulary = {word: i for i, word in enumerate([*SPECIAL.values(), *WORDS])}
    fast = Fast(models.WordLevel(vocabulary, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    eos = ("</s>", vocabulary["</s>"])
    fast.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[eos])
    return PreTrainedTokenizerFast(tokenizer_object=fast, **SPECIAL)


@pytest.fixture(scope="module", params=["marian", "bart"])
def translator(request, tmp_path_factory):
    """A random network, saved and loaded as a version's folder is."""
    folder = tmp_path_factory.mktemp("model")
    architecture = Architecture(family=request.param, d_model=16, ffn_dim=32, attention_heads=2, max_positions=64)
    tokenizer = tiny_tokenizer()
    seed_everything(0)
    networks.build(architecture, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    settings = {
        "decoding": {"strategy": "beam", "num_beams": 2, "max_new_tokens": 8},
        "architecture": architecture.model_dump(mode="json"),
        "max_words": 5,
    }
    write_json(folder / SETTINGS, settings)
    return Translator.load(folder)


@pytest.mark.parametrize("text", ["", "   ", "\n\n", None])
def test_empty_input_gives_empty_output_and_nothing_made_up(translator, text):
    assert translator.predict([{"text": text}]) == [
        {"translation": "", "score": 0.0, "cut_loops": 0, "refused": None, "problem": None}
    ]


def test_batches_keep_their_order_and_equal_single_calls(translator):
    texts = ["the red cat sees the dog.", "", "the dog. the cat.", "red"]
    together = translator.predict([{"text": text} for text in texts])
    alone = [translator.predict([{"text": text}])[0] for text in texts]
    assert [one["translation"] for one in together] == [one["translation"] for one in alone]
    assert [one["score"] for one in together] == pytest.approx([one["score"] for one in alone], abs=1e-4)


def test_sentences_are_split_and_long_ones_cut_to_what_the_model_knows(translator):
    assert translator.sentences("Dr. Smith sees the cat. The dog sleeps!") == [
        "Dr. Smith sees the cat.",
        "The dog sleeps!",
    ]
    assert [len(part.split()) for part in translator.sentences("the " * 12)] == [5, 5, 2]


@pytest.mark.parametrize("text", ["the red cat " * 100, "caaat" * 100])
def test_what_has_more_tokens_than_the_model_positions_is_cut_too(translator, text, monkeypatch):
    monkeypatch.setattr(translator, "max_words", 1000)
    monkeypatch.setattr(translator, "tokenizer", lambda piece: {"input_ids": list(piece.replace(" ", ""))})
    parts = translator.sentences(text)
    assert "".join(parts).replace(" ", "") == text.replace(" ", "")
    assert all(len(part.replace(" ", "")) <= 64 for part in parts)


def test_looping_output_is_cut_and_counted(translator, monkeypatch):
    looping = Generated(text="il gato " + "roso " * 20, score=-1.0, tokens=[], finished=True)
    monkeypatch.setattr("components.translation.serve.generate_text", lambda *_, **__: [looping])
    answer = translator.predict([{"text": "the cat"}])[0]
    assert answer["cut_loops"] == 1
    assert answer["translation"].split().count("roso") < 4


def test_streaming_gives_the_greedy_translation_piece_by_piece(translator):
    text = "the red cat sees the dog. the dog."
    whole = translator.predict([{"text": text}], strategy="greedy", num_beams=None)[0]["translation"]
    *pieces, last = translator.stream({"text": text})
    assert pieces
    assert "".join(one["piece"] for one in pieces).split() == last["translation"].split() == whole.split()
    assert last.keys() == translator.predict([{"text": text}])[0].keys()


def test_answers_are_plain_json(translator):
    json.dumps(translator.predict(translator.example))


def test_a_folder_that_holds_no_model_is_one_clear_error(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(Exception, match=r"Cannot load an encoder–decoder.*What to do"):
        networks.load(tmp_path)


def test_masking_hides_its_share_never_the_end_and_is_repeatable():
    ids = [*range(10, 110), 2]
    masked = mask(ids, 4, 0.3, seed=1)
    assert masked == mask(ids, 4, 0.3, seed=1) != mask(ids, 4, 0.3, seed=2)
    assert masked[-1] == 2
    assert 15 <= masked.count(4) <= 45
    assert all(hidden in (4, whole) for hidden, whole in zip(masked, ids, strict=True))
    assert mask([7, 2], 4, 0.01, seed=0) == [4, 2]
    assert mask([2], 4, 0.5, seed=0) == [2]


def test_the_decoder_sees_the_unmasked_sequence_shifted_behind_the_start_token():
    import torch

    labels = torch.tensor([[5, 6, 2], [7, 2, -100]])
    assert shift_right(labels, 1, 0).tolist() == [[1, 5, 6], [1, 7, 2]]
