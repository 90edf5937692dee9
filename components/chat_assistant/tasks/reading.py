"""The cleaned records as token ids, kind by kind; what does not fit is cut or left out by one rule, and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.engines.base.errors import BadRecord, StageError
from components.engines.language.causal import Tokens
from components.engines.language.chat_tokens import ChatTokens
from components.engines.language.dialogues import messages_of
from components.engines.language.records import Record, Records

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Pair:
    """A question with a better and a worse answer, as token ids; `margin` is how much better, 0 where nobody said."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    margin: float


@dataclass(frozen=True)
class Prompt:
    """A question as token ids, its answer's mark included; the record tells what is known of it."""

    ids: list[int]
    record: Record


def texts(folder: Path, split: str, words: Any) -> Iterator[list[int]]:
    """Documents with their start and end, for packing."""
    backend = ChatTokens(words, 1)  # its encoder reads special tokens in texts as text
    start = [] if words.bos_token_id is None else [words.bos_token_id]
    for one in Records(folder / "texts", split):
        yield [*start, *backend.text(one.texts["text"]), words.eos_token_id]


def conversations(folder: Path, split: str, tokens: ChatTokens) -> list[Tokens]:
    """Conversations of which the assistant's words are learnt."""
    found = (_fitted(one, tokens) for one in Records(folder / "conversations", split))
    return _some([tokens.sample(messages) for messages in found if messages is not None], "conversation", split)


def pairs(folder: Path, split: str, tokens: ChatTokens) -> list[Pair]:
    return [one for one, _ in paired_records(folder, split, tokens)]


def paired_records(folder: Path, split: str, tokens: ChatTokens) -> list[tuple[Pair, Record]]:
    """Each preference that fits, with the record that it is made of."""
    made = []
    for one in Records(folder / "preferences", split):
        messages = _fitted(one, tokens)
        if messages is not None:
            chosen, rejected = (tokens.answer(one.texts[name]) for name in ("chosen", "rejected"))
            made.append((Pair(tokens.prompt(messages), chosen, rejected, one.meta.get("margin") or 0.0), one))
    return _some(made, "preference", split)


def prompts(folder: Path, split: str, tokens: ChatTokens, answer: int) -> list[Prompt]:
    """The questions of the conversations, their last answers left out, that leave room for `answer` tokens."""
    made = []
    for one in Records(folder / "conversations", split):
        try:
            asked = tokens.fitted(messages_of(one.texts)[:-1], answer)
        except BadRecord:
            continue
        made.append(Prompt(tokens.prompt(asked), one))
    return _some(made, "question", split)


def requests(folder: Path, split: str, tokens: ChatTokens) -> list[tuple[list[int], str, bool]]:
    """Token ids of what is asked, or of that with an answer; its category; whether there is an answer."""
    found = []
    for one in Records(folder / "requests", split):
        messages = _fitted(one, tokens)
        if messages is not None:
            found.append((tokens.sample(messages).ids, str(one.meta["category"]), len(messages) > 1))
    return found


def ordinary(folder: Path, split: str, tokens: ChatTokens, count: int) -> list[list[int]]:
    """The last exchanges of so many conversations, every other one without its answer: what is harmless and asked every day."""
    found = []
    for place, one in enumerate(Records(folder / "conversations", split, count)):
        said = messages_of(one.texts)[-2:][: 1 + place % 2]
        try:
            found.append(tokens.sample(tokens.fitted(said)).ids)
        except BadRecord:
            continue
    return found


def counts_of(folder: Path, tokens: ChatTokens) -> dict[str, dict[str, int]]:
    """How many records of each kind are whole, cut to their newest exchanges, or too long."""
    counts: dict[str, Counter[str]] = {}
    for kind in ("conversations", "preferences", "requests"):
        count = counts[kind] = Counter({"whole": 0, "cut": 0, "too long": 0})
        for one in (one for split in SPLITS for one in Records(folder / kind, split)):
            fitted = _fitted(one, tokens)
            count[
                "too long" if fitted is None else "whole" if len(fitted) == len(messages_of(one.texts)) else "cut"
            ] += 1
    return {kind: dict(count) for kind, count in counts.items()}


def _fitted(one: Record, tokens: ChatTokens) -> list[dict[str, str]] | None:
    """The messages that fit, beside the longer of two answers where there are some; None where nothing does."""
    answers = [len(tokens.answer(one.texts[name])) for name in ("chosen", "rejected") if name in one.texts]
    try:  # a conversation has its answer already, and needs no mark for one either
        return tokens.fitted(messages_of(one.texts), max(answers, default=-1))
    except BadRecord:
        return None


def _some(found: list[Any], what: str, split: str) -> list[Any]:
    if not found:
        raise StageError(
            f"No {what} of the {split} split fits into max_tokens",
            where="chat_assistant.architecture.max_tokens",
            do="raise it, or look at reports/chat_assistant/lengths.json",
        )
    return found


def first(found: Sequence[Any], count: int) -> list[Any]:
    """At most so many, evenly over all."""
    step = max(len(found) // count, 1)
    return list(found[::step][:count])
