"""Conversations: messages of roles, and what of a long one the next answer sees.

The rule: the system's message stays, and the question that is to be answered. Of what was said before, the newest exchanges stay
that fit beside them, without a gap and none of them half. The oldest go first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from components.engines.base.errors import BadRecord

Role = Literal["system", "user", "assistant"]
Messages = list[dict[str, Any]]


class Message(BaseModel):
    """One message; `content` is its text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role
    content: str


def truncated(messages: Messages, room: int, length: Callable[[Messages], int]) -> tuple[Messages, int]:
    """The messages that fit into `room` by the rule, and how many were left out; `length` measures messages (in tokens, say).

    Raises BadRecord where the question does not fit even alone with the system's message.
    """
    system = messages[:1] if messages and messages[0]["role"] == "system" else []
    *before, question = exchanges(messages[len(system) :])
    kept = [*system, *question]
    if length(kept) > room:
        raise BadRecord("the question is too long", f"{length(kept)} where {room} fit")
    for exchange in reversed(before):
        wider = [*system, *exchange, *kept[len(system) :]]
        if length(wider) > room:
            break
        kept = wider
    return kept, len(messages) - len(kept)


def exchanges(messages: Messages) -> list[Messages]:
    """Messages in groups, each of which begins where a user speaks after the assistant has; the last is the question."""
    found: list[Messages] = [[]]
    for one in messages:
        if one["role"] != "assistant" and found[-1] and found[-1][-1]["role"] == "assistant":
            found.append([])
        found[-1].append(one)
    return found


def characters(messages: Sequence[dict[str, Any]]) -> int:
    return sum(len(one["content"]) for one in messages)
