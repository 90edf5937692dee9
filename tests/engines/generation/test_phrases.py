"""Phrases behind what is typed: transformers' own beam search is the oracle, also in mid-word; reuse changes nothing but the
work."""

import math

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from components.engines.base.errors import UsageError
from components.engines.generation.byte_vocabulary import ByteVocabulary
from components.engines.generation.phrases import PhraseSearch, search, split_typed
from components.engines.generation.prefix import Prefix
from tests.engines.generation.small_writer import SENTENCES, encode, network, taught, tokenizer

TYPED = ["", "Dear An", "Hello Bob, th", "Hello Andr", "zzqx"]
LONG = PhraseSearch(max_new_tokens=20, max_words=99)
CPU = torch.device("cpu")


def vocabulary(model):
    return ByteVocabulary(tokenizer(), model.config.vocab_size, CPU)


def found(model, typed, params=LONG, floor=0.0, prefix=None):
    stable, held = split_typed(f" {typed}")
    return search(prefix or Prefix(model), encode(stable), held, vocabulary(model), params, floor)


class Spelt(transformers.LogitsProcessor):
    """Allows the tokens that go on with what is held."""

    def __init__(self, words, held, start):
        self.words, self.held, self.start = words, held.encode(), start

    def __call__(self, input_ids, scores):
        logs = scores.float().log_softmax(-1)
        for place, row in enumerate(input_ids.tolist()):
            rest = self.held
            for token in row[self.start :]:
                rest = rest[len(self.words.bytes.get(token, b"")) :]
            logs[place] = logs[place].masked_fill(~self.words.agreeing(rest).allowed, -math.inf)
        return logs


def by_transformers(model, typed, beams):
    stable, held = split_typed(f" {typed}")
    words, ids = vocabulary(model), torch.tensor([encode(stable)])
    ends = words.free.ends.nonzero().flatten().tolist()
    made = model.generate(
        ids, attention_mask=torch.ones_like(ids), num_beams=beams, max_new_tokens=20, do_sample=False, length_penalty=0.0,
        logits_processor=transformers.LogitsProcessorList([Spelt(words, held, ids.shape[1])]),
        eos_token_id=ends, pad_token_id=0, return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    tokens = made.sequences[0, ids.shape[1] :].tolist()
    return [token for token in tokens if token], made.sequences_scores[0].item()


@pytest.mark.parametrize("family", ["gpt2", "xglm", "llama"])
@pytest.mark.parametrize("beams", [1, 4])
def test_the_best_hypothesis_is_that_of_transformers(family, beams):
    model = taught(family)
    for typed in TYPED:
        ours = found(model, typed, PhraseSearch(num_beams=beams, max_new_tokens=20, max_words=99))
        if beams == 1:  # transformers' greedy search is no beam search of one: it never drops what has ended
            theirs = by_transformers(model, typed, 2)[1]
            assert ours.score <= theirs + 1e-4
            continue
        tokens, score = by_transformers(model, typed, beams)
        assert ours.hypothesis == tokens, typed
        assert ours.score == pytest.approx(score, abs=1e-4)


def test_mid_word_a_phrase_goes_on_with_the_letters_typed_and_others_are_impossible():
    model = taught("gpt2")
    for sentence in SENTENCES[::12]:
        line = sentence.split("\n")[0]
        for cut in range(1, len(line), 5):
            for phrase in found(model, line[:cut], floor=0.05).phrases.values():
                whole = line[:cut] + phrase.text
                assert len(phrase.text.split()) == phrase.words
                assert "\n" not in phrase.text
                if phrase.probability > 0.5:
                    assert any(other.startswith(whole) for other in SENTENCES), whole


def test_probabilities_are_those_of_the_words_given_the_letters_typed():
    """By hand: every spelling of what is held and of one word, as far as it is not hopeless."""
    model = taught("gpt2")
    words, (stable, held) = vocabulary(model), split_typed(" Dear An")
    whole, mass = {}, 0.0

    def spell(ids, rest, text, chance):
        nonlocal mass
        probabilities = model(torch.tensor([ids])).logits[0, -1].softmax(-1)
        rule = words.agreeing(rest)
        if rest:
            mass += chance * probabilities[rule.covering].sum().item()
        elif text:
            whole[text] = whole.get(text, 0.0) + chance * probabilities[words.boundary].sum().item()
        inside = rule.allowed if rest else rule.allowed & ~words.boundary
        for token in inside.nonzero().flatten().tolist():
            further = chance * probabilities[token].item()
            if further > 1e-3:
                added = words.bytes[token]
                spell([*ids, token], rest[len(added) :], text + added[len(rest) :], further)

    with torch.no_grad():
        spell(encode(stable), held.encode(), b"", 1.0)
    best = max(whole, key=whole.get)
    ours = found(model, "Dear An", PhraseSearch(num_beams=32, max_new_tokens=8)).phrases[1]
    assert ours.text == best.decode()
    assert ours.probability == pytest.approx(whole[best] / mass, rel=0.02)


@pytest.mark.parametrize("family", ["gpt2", "xglm", "llama"])
def test_what_was_read_before_is_not_read_again_and_changes_nothing(family):
    """Typing, deleting and going elsewhere: the answers are those of a fresh start."""
    model, text = taught(family), "Dear Anna, thank you for the"
    kept = Prefix(model)
    steps = [text[:n] for n in range(1, len(text), 2)] + [text[:10], "Hello Bob,", text]
    fresh_work = 0
    for typed in steps:
        fresh = Prefix(model)
        alone, reused = found(model, typed, prefix=fresh), found(model, typed, prefix=kept)
        fresh_work += fresh.computed
        assert reused.hypothesis == alone.hypothesis
        assert {n: one.text for n, one in reused.phrases.items()} == {n: one.text for n, one in alone.phrases.items()}
        assert reused.score == pytest.approx(alone.score, abs=1e-4)
    assert kept.computed * 3 < fresh_work


@pytest.mark.parametrize("floor", [0.5, 0.7])
def test_a_floor_of_a_half_or_more_loses_no_phrase_above_it(floor):
    model = taught("llama")
    for typed in TYPED[:-1]:
        whole, pruned = found(model, typed), found(model, typed, floor=floor)
        sure = {n: one.text for n, one in whole.phrases.items() if one.probability >= floor}
        assert {n: one.text for n, one in pruned.phrases.items() if one.probability >= floor} == sure
        assert pruned.passes <= whole.passes


def test_phrases_end_with_the_line_the_limits_and_the_positions():
    model = taught("gpt2")
    assert all("\n" not in one.text for one in found(model, "Dear Anna, thanks for the mail. Best").phrases.values())
    assert max(found(model, "Dear", PhraseSearch(max_words=2)).phrases) <= 2
    ids = (encode(" Dear Anna,") * 20)[:63]  # of 64 positions; the last token of a phrase is not read
    assert len(search(Prefix(model), ids, " D", vocabulary(model), LONG).hypothesis) <= 2
    text = "Dear Anna, thanks for the mail. Best regards\n"
    assert found(model, text).phrases[1].text in ("Kim", "Lee")


def test_special_tokens_are_never_part_of_a_phrase():
    model = network("gpt2")
    with torch.no_grad():
        model.transformer.wte.weight[[0, 1, 3]] *= 100
    words = vocabulary(model)
    for one in found(model, "Dear").phrases.values():
        assert "<" not in one.text
    assert not words.free.allowed[[0, 1, 3]].any()


def test_only_byte_level_tokenizers_are_taken():
    from tokenizers import Tokenizer, models

    other = transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    with pytest.raises(UsageError, match="byte-level"):
        ByteVocabulary(other, 1, CPU)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab'd .,\n\té漢3-", max_size=12), st.text(alphabet="abs' .\n3é", max_size=6))
def test_what_is_called_stable_no_further_typing_tokenizes_otherwise(typed, more):
    stable, held = split_typed(f" {typed}")
    assert stable + held == f" {typed}"
    tokens = tokenizer()(stable, add_special_tokens=False)["input_ids"] if stable else []
    whole = tokenizer()(f" {typed}{more}", add_special_tokens=False)["input_ids"]
    assert whole[: len(tokens)] == tokens


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=5))
def test_agreeing_tokens_are_those_that_cover_or_begin(rest):
    words = vocabulary(network("gpt2"))
    agreeing = words.agreeing(rest)
    for number, text in words.bytes.items():
        assert bool(agreeing.covering[number]) == text.startswith(rest)
        assert bool(agreeing.allowed[number]) == (text.startswith(rest) or rest.startswith(text))
        assert bool(agreeing.ends[number]) == (text.startswith(rest) and b"\n" in text[len(rest) :])
