"""Conversations as the stages exchange them: the messages of a record, and the rules that they keep.

A record's texts are its messages in order, named by place and role (`0 system`, `1 user`, `2 assistant`), and, of a preference,
the two answers to the last of them: `chosen` and `rejected`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.engines.base.errors import BadRecord
from components.engines.sources.rows import shorten, text_of

ROLES = ("system", "user", "assistant")
ANSWERS = ("chosen", "rejected")
# What other formats call the roles (ShareGPT, HH, Gemini).
_CALLED = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant", "bot": "assistant"}
_TOOLS = ("tool", "function", "ipython")

Message = dict[str, str]


@dataclass(frozen=True)
class Dialogue:
    """What was said, in order; of a preference `answers` are the chosen and the rejected one, and `margin` how much better."""

    messages: list[Message]
    answers: tuple[str, str] | None = None
    margin: float | None = None

    def texts(self) -> dict[str, str]:
        """As a record's texts."""
        found = {f"{place} {one['role']}": one["content"] for place, one in enumerate(self.messages)}
        return found | (dict(zip(ANSWERS, self.answers, strict=True)) if self.answers else {})


def messages_of(texts: Mapping[str, str]) -> list[Message]:
    """The messages in a record's texts, without `chosen` and `rejected`."""
    return [
        {"role": role, "content": text}
        for place, _, role, text in ((*name.partition(" "), text) for name, text in texts.items())
        if place.isdecimal()
    ]


def message_of(given: Any, role_key: str, content_key: str) -> Message:
    """One message of a file. Raises BadRecord for what is none: no text, a tool's call or answer, an unknown role."""
    if not isinstance(given, dict):
        raise BadRecord("no message", shorten(given))
    role = given.get(role_key)
    if role in _TOOLS or given.get("tool_calls") or given.get("function_call"):
        raise BadRecord("tool call", f"{role}: this format has no place for tools")
    if not isinstance(role, str) or (named := _CALLED.get(role.lower(), role.lower())) not in ROLES:
        raise BadRecord("unknown role", shorten(role))
    return {"role": named, "content": text_of(given.get(content_key), content_key)}


def checked(messages: Sequence[Message], last: str) -> list[Message]:
    """The messages, if they are a conversation: at most one system's message, first; then user and assistant in turns, each with
    a text; the last is the `last` role's. Raises BadRecord.

    One turn that nobody answered stands at the end of many real conversations: of a conversation that is to end with the
    assistant it is left out.
    """
    found = list(messages)
    if last == "assistant" and len(found) > 1 and found[-1]["role"] == "user":
        found = found[:-1]
    spoken = [one["role"] for one in found if one["role"] != "system"]
    if not spoken:
        raise BadRecord("system only" if found else "no message", "nobody asks anything")
    if any(not one["content"].strip() for one in found):
        raise BadRecord("empty turn", f"message {[not one['content'].strip() for one in found].index(True) + 1}")
    turns = [("user", "assistant")[place % 2] for place in range(len(spoken))]
    if [one["role"] for one in found[-len(spoken) :]] != turns or len(found) - len(spoken) > 1:
        raise BadRecord("wrong role order", ", ".join(one["role"] for one in found[:8]))
    if spoken[-1] != last:
        raise BadRecord("wrong role order", f"the last message is the {spoken[-1]}'s, not the {last}'s")
    return found


def preference(messages: Sequence[Message], chosen: Any, rejected: Any, margin: Any = None) -> Dialogue:
    """Raises BadRecord for answers that are no text, empty or equal, and a margin that is no number from 0 on."""
    answers = (text_of(chosen, "chosen").strip(), text_of(rejected, "rejected").strip())
    if not all(answers):
        raise BadRecord("empty turn", "chosen or rejected")
    if answers[0] == answers[1]:
        raise BadRecord("chosen equals rejected", shorten(answers[0]))
    if margin is not None and (isinstance(margin, bool) or not isinstance(margin, int | float) or not margin >= 0):
        raise BadRecord("bad margin", shorten(margin))
    return Dialogue(checked(messages, "user"), answers, None if margin is None else float(margin))
