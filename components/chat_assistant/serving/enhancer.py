"""The prompt enhancer: a question as the model has met questions, and the operator's message before it."""

from __future__ import annotations

import re

from components.engines.language.dialogues import Message
from components.engines.text.normalization import normalise

_AGAIN = re.compile(r"([?!.,])\1+")  # "what???" asks what "what?" does
_BEFORE_STOP = re.compile(r"\s+([?!.,])")


def enhanced(messages: list[Message], system: str | None) -> list[Message]:
    """The messages with their texts in NFC, without control characters, drawn-out signs or spaces before signs; lines stay lines.

    `system` stands first where no message of a system does.
    """
    made = [{**one, "content": _tidy(one["content"])} for one in messages]
    has_own = bool(made) and made[0]["role"] == "system"
    return [{"role": "system", "content": system}, *made] if system and not has_own else made


def _tidy(text: str) -> str:
    lines = [_BEFORE_STOP.sub(r"\1", _AGAIN.sub(r"\1", normalise(line))) for line in text.split("\n")]
    return "\n".join(lines).strip()
