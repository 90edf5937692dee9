"""The model's stages one after another, small: what they write, learn and serve; checkpoints; resume; the device."""

from functools import partial
from unittest.mock import patch

import pytest
import torch

from components.engines.base.errors import UsageError
from components.engines.base.paths import digest_path, read_json, read_jsonl, write_json
from components.engines.nn.checkpoints import load_tokenizer
from components.engines.serving.pipeline import SETTINGS
from components.engines.training.checkpoints import store
from components.engines.training.loop import fit
from components.engines.training.parallel.ranks import Ranks
from components.smart_compose.serve import SmartCompose
from components.smart_compose.tasks.mails import MARKS
from tests.declared_figures import unwritten
from tests.smart_compose.small import DATA, MODEL, SMALL, TRAINING, make_task, small
from tests.stand_in_device import numbers, on_both


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    made = small(tmp_path_factory.mktemp("smart_compose")).run_all(*DATA, *MODEL)
    made.figures = made.evaluate()
    settings = {"architecture": SMALL.model_dump(mode="json"), "composing": {}, "region": "US", "max_chars": 1000}
    write_json(made.data / "served" / SETTINGS, settings)
    for name, folder in (("threshold", made.data / "threshold"), ("", made.data / "model")):
        for file in folder.iterdir():
            (made.data / "served" / name).mkdir(exist_ok=True)
            (made.data / "served" / name / file.name).symlink_to(file)
    return made


def test_every_record_is_kept_or_has_a_reason(room):
    counts = read_json(room.reports / "scrubbing.json")
    assert counts["seen"] == counts["kept"] + sum((counts["rejected"] | counts["quarantined"]).values())


def test_figures_stand_beside_their_baselines_and_all_declared_ones_are_written(room):
    figures = room.figures
    assert unwritten("smart_compose", figures) == []
    assert 1 < figures["perplexity_grammar"] < figures["perplexity"] < figures["perplexity_unigram"]
    assert figures["grammar_mails"] > 0.8 * figures["test_mails"]
    assert 0 <= figures["coverage"] <= 1
    assert figures["keystrokes_saved"] < 0.5
    rows = read_jsonl(room.reports / "scores.jsonl")
    assert len(rows) == figures["test_mails"]
    assert set(read_json(room.reports / "scores.json")["metrics"]) == {"log_likelihood", "useful"}
    assert all(row["fields"]["suggested"] for row in read_jsonl(room.reports / "samples.jsonl"))


def test_what_is_served_answers(room):
    served = SmartCompose.load(room.data / "served")
    assert served.composer.threshold == read_json(room.data / "threshold/threshold.json")["threshold"]
    for answer in served.predict(SmartCompose.example):
        assert answer["problem"] is None
        assert (answer["suggestion"] is None) != (answer["refused"] is None)


def test_what_is_saved_loads_in_plain_transformers(room):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    words, network = (kind.from_pretrained(room.data / "model") for kind in (AutoTokenizer, AutoModelForCausalLM))
    assert network.get_input_embeddings().num_embeddings == len(words)
    assert [len(words(mark, add_special_tokens=False)["input_ids"]) for mark in MARKS] == [1] * len(MARKS)
    assert words.decode(words(" Hi <PHONE>.", add_special_tokens=False)["input_ids"]) == " Hi <PHONE>."


@pytest.mark.parametrize("family", ["xglm", "llama"])
def test_the_other_families_learn_and_suggest(room, tmp_path, family):
    shape = SMALL.model_copy(update={"family": family})
    other = small(tmp_path, room, architecture=shape).run_all(*MODEL)
    figures = other.evaluate()
    assert {"gpt2", "xglm", "llama"} >= {read_json(other.data / "model/config.json")["model_type"]}
    assert figures["perplexity"] < figures["perplexity_unigram"]
    assert figures["perplexity_beyond"] > 1


def test_a_checkpoint_of_gpt2s_layout_goes_through(room, tmp_path):
    from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

    merges = ["#version: 0.2", "Ġ t", "h e", "Ġt he", "i n"]
    plain = load_tokenizer(room.data / "tokenizer").backend_tokenizer
    letters = sorted(token for token in plain.get_vocab() if len(token) == 1)
    known = [*letters, "Ġt", "he", "Ġthe", "in", "<|endoftext|>"]
    words = GPT2Tokenizer(vocab={t: n for n, t in enumerate(known)}, merges=[tuple(m.split()) for m in merges[1:]])
    size = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 96}
    ends = {"bos_token_id": words.eos_token_id, "eos_token_id": words.eos_token_id}
    GPT2LMHeadModel(GPT2Config(vocab_size=len(known), **size, **ends)).save_pretrained(tmp_path / "gpt2")
    words.save_pretrained(tmp_path / "gpt2")

    shape = SMALL.model_copy(update={"init_from": str(tmp_path / "gpt2")})
    other = small(tmp_path, room, architecture=shape).run_all("tokenizer", *MODEL)
    assert other.evaluate()["test_mails"] == room.figures["test_mails"]
    network = AutoModelForCausalLM.from_pretrained(other.data / "model")
    assert network.get_input_embeddings().num_embeddings == len(known) + len(MARKS) + 1  # and a pad token of its own
    before = GPT2LMHeadModel.from_pretrained(tmp_path / "gpt2").transformer.wte.weight
    assert not torch.equal(network.transformer.wte.weight[: len(known)], before)

    with pytest.raises(UsageError, match=f"no row for {len(MARKS) + 1} tokens"):
        small(tmp_path / "as it is", other, architecture=shape).run("train", enabled=False)
    long = shape.model_copy(update={"max_tokens": 128})
    with pytest.raises(UsageError, match="96 positions"):
        small(tmp_path / "long", other, architecture=long).run("train")


def test_killed_and_resumed_trains_the_same_bits(room, tmp_path):
    ranks = Ranks.single(torch.device("cpu"))
    make = partial(make_task, str(room.root))
    whole = fit(make, TRAINING, work=tmp_path / "whole", ranks=ranks)

    def interrupt(root, newest, keep):
        if store.saved_steps(root)[-1] == 16:
            raise KeyboardInterrupt

    with patch.object(store, "prune", interrupt), pytest.raises(KeyboardInterrupt):
        fit(make, TRAINING, work=tmp_path / "killed", ranks=ranks)
    again = fit(make, TRAINING, work=tmp_path / "killed", ranks=ranks)
    assert (again.curve, digest_path(again.weights)) == (whole.curve, digest_path(whole.weights))


def test_the_model_and_what_it_is_given_are_on_the_device(room, tmp_path):
    def run():
        found = small(tmp_path, room).evaluate()
        return numbers(found), SmartCompose.load(room.data / "served").predict(SmartCompose.example)

    expected, found, there = on_both(run)
    assert {"Embedding", "Conv1D"} <= there
    assert found[0] == pytest.approx(expected[0], rel=1e-3, abs=1e-3, nan_ok=True)
    assert found[1][0]["suggestion"] == expected[1][0]["suggestion"]
