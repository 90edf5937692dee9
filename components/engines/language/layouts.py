"""Rows of instruction and preference data in the layouts that are about, as dialogues; which layout a row has, its keys say.

Conversations: `messages` (OpenAI), `conversations` (ShareGPT), `instruction`/`input`/`output` (Alpaca), `instruction`/`instances`
(Self-Instruct), `question`/`answer` (GSM8K), `prompt`/`response` or `completion`. Preferences: `chosen` and `rejected` as whole
dialogues in one text (HH: `\\n\\nHuman:`, `\\n\\nAssistant:`), as lists of messages (TRL), or as answers to `prompt`,
`question` or `instruction`.
"""

from __future__ import annotations

import re
from typing import Any

from components.engines.base.errors import BadRecord
from components.engines.language.dialogues import Dialogue, Message, checked, message_of, preference
from components.engines.sources.rows import shorten, text_of

_HH = re.compile(r"\n\n(Human|Assistant):")
_QUESTIONS = {"prompt": ("response", "completion", "output"), "question": ("answer",)}
_MARGIN = "margin"
_NOTES = re.compile(r"<<[^<>]*>>")  # GSM8K's calculator notes: `48/2 = <<48/2=24>>24`


def conversation_of(row: dict[str, Any]) -> Dialogue:
    """A row as a conversation that ends with the assistant. Raises BadRecord."""
    return Dialogue(checked(_messages(row), "assistant"))


def preference_of(row: dict[str, Any]) -> Dialogue:
    """A row as a question with a better and a worse answer. Raises BadRecord."""
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if chosen is None or rejected is None:
        raise BadRecord("no known layout", f"a preference has chosen and rejected, not {shorten(', '.join(row))}")
    margin = row.get(_MARGIN)
    if isinstance(chosen, str) and isinstance(rejected, str) and _HH.match(chosen):
        chosen, rejected = _hh(chosen), _hh(rejected)
    if isinstance(chosen, list) and isinstance(rejected, list):
        return _of_lists(row, chosen, rejected, margin)
    return preference(_asked(row), chosen, rejected, margin)


def text_in(row: dict[str, Any]) -> str:
    """A row as a text to be read: its `text` or `content`, or all that is said in its conversation. Raises BadRecord."""
    for name in ("text", "content"):
        if name in row:
            return text_of(row[name], name)
    return "\n".join(one["content"] for one in _messages(row))


def _messages(row: dict[str, Any]) -> list[Message]:
    if isinstance(row.get("messages"), list):
        return [message_of(one, "role", "content") for one in row["messages"]]
    if isinstance(row.get("conversations"), list):
        return [message_of(one, "from", "value") for one in row["conversations"]]
    if isinstance(row.get("instances"), list) and "instruction" in row:
        first = row["instances"][0] if row["instances"] else {}
        row = {"instruction": row["instruction"], **(first if isinstance(first, dict) else {})}
    if "instruction" in row and "output" in row:
        return _pair(_instruction(row), row["output"], "output")
    for question, answers in _QUESTIONS.items():
        for answer in answers:
            if question in row and answer in row:
                return _pair(text_of(row[question], question), row[answer], answer)
    raise BadRecord("no known layout", f"columns: {shorten(', '.join(row))}")


def _pair(asked: str, answer: Any, name: str) -> list[Message]:
    said = _NOTES.sub("", text_of(answer, name))
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]


def _asked(row: dict[str, Any]) -> list[Message]:
    """The question that two answers are to."""
    if isinstance(row.get("prompt"), list):
        return [message_of(one, "role", "content") for one in row["prompt"]]
    if "instruction" in row:
        return [{"role": "user", "content": _instruction(row)}]
    for name in _QUESTIONS:
        if name in row:
            return [{"role": "user", "content": text_of(row[name], name)}]
    raise BadRecord("no known layout", f"nothing is asked: {shorten(', '.join(row))}")


def _instruction(row: dict[str, Any]) -> str:
    given = text_of(row.get("input") or "", "input").strip()
    asked = text_of(row["instruction"], "instruction").strip()
    return f"{asked}\n\n{given}" if given else asked


def _of_lists(row: dict[str, Any], chosen: list[Any], rejected: list[Any], margin: Any) -> Dialogue:
    """Whole dialogues that part at the last answer, or, behind a `prompt`, answers alone. Raises BadRecord where they part
    before."""
    ours, theirs = ([message_of(one, "role", "content") for one in each] for each in (chosen, rejected))
    before = _asked(row) if "prompt" in row and ours[:1] and ours[0]["role"] == "assistant" else []
    if not ours or not theirs or ours[:-1] != theirs[:-1]:
        raise BadRecord("dialogues part early", "chosen and rejected differ before their last message")
    if ours[-1]["role"] != "assistant" or theirs[-1]["role"] != "assistant":
        raise BadRecord("wrong role order", "chosen and rejected end with the assistant")
    return preference([*before, *ours[:-1]], ours[-1]["content"], theirs[-1]["content"], margin)


def _hh(text: str) -> list[dict[str, str]]:
    parts = _HH.split(text)[1:]
    roles = {"Human": "user", "Assistant": "assistant"}
    return [{"role": roles[who], "content": said.strip()} for who, said in zip(parts[::2], parts[1::2], strict=True)]
