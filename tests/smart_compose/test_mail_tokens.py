"""Mails as tokens: only bodies are learnt, each token of them once, whatever stands before and however long they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.engines.language.causal import CausalLM
from components.smart_compose.tasks.mails import MailTokens, MailWindows
from tests.smart_compose.writer import SHAPE, mails, network, tokenizer

TOKENS = MailTokens(tokenizer(), SHAPE)
END = tokenizer().eos_token_id


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=30), st.text(max_size=200), st.text(alphabet="abc d.\né", min_size=1, max_size=600))
def test_every_token_of_a_body_is_learnt_once_in_windows_that_fit(subject, previous, body):
    samples = TOKENS.samples({"subject": subject, "previous": previous, "body": body})
    learnt = [token for one in samples for token, is_learnt in zip(one.ids, one.learnt, strict=True) if is_learnt]
    assert learnt == [*TOKENS.text(f" {body}"), END]
    context = TOKENS.context(subject, previous)
    assert len(context) <= SHAPE.context_tokens
    for one in samples:
        assert len(one.ids) <= SHAPE.max_tokens
        assert one.ids[: len(context)] == context


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.integers(1, 40))
def test_what_is_typed_keeps_room_for_a_phrase_and_what_is_read_changes_seldom(length, context):
    before, body = list(range(1000, 1000 + context)), list(range(length))
    read = TOKENS.typed(before, body)
    room = SHAPE.max_tokens - context
    assert read[:context] == before
    assert read[context:] == body[len(body) - len(read) + context :]
    assert len(read) <= SHAPE.max_tokens - room // 4
    assert len(read) - context >= min(length, room // 4 - 1)


def test_placeholders_are_one_token_and_marks_that_somebody_types_are_text():
    (before, after), phone = TOKENS.text(" Hi <PHONE>")[-2:], TOKENS.special["<PHONE>"]
    assert after == phone != before
    for mark in ("</s>", "<body>", "<previous>", "<s>", "<pad>"):
        assert not {END, *TOKENS.special.values(), 0, 1} & set(TOKENS.text(f" a {mark} b"))


def test_the_loss_does_not_move_with_what_is_not_learnt_but_for_what_it_tells():
    """A label lost to the context would change the number of learnt tokens; a mask lost would learn the context."""
    one = mails(1, seed=5)[0].texts
    samples = TOKENS.samples(one)
    task = CausalLM(network(), samples, samples, pad_id=0)
    batch = task.batch(np.arange(len(samples)), 0)
    labels = batch["labels"][batch["labels"] != -100].tolist()
    assert labels == [*TOKENS.text(f" {one['body']}"), END]
    first = (batch["labels"][0] != -100).nonzero()[0].item()
    assert first == len(TOKENS.context(one["subject"], one["previous"])) - 1


def test_windows_name_their_mails():
    records = mails(4)
    records[1].texts["body"] *= 6
    windows = MailWindows(records, TOKENS)
    assert windows.mails[:2] == [0, 1]
    assert windows.mails.count(1) > 2
    assert [one.ids for one in windows][1:3] == [one.ids for one in TOKENS.samples(records[1].texts)][:2]
    with pytest.raises(IndexError):
        windows[len(windows)]
