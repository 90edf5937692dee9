"""Messages as tokens: `<s><|user|> what is asked</s><|assistant|> the answer</s>`, of which what the assistant says is learnt.

What people type never becomes one of the template's own tokens: `<|assistant|>` in a message is text like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.engines.base.errors import BadRecord
from components.engines.language.causal import Tokens
from components.engines.language.dialogues import ROLES, Message

MARKS = tuple(f"<|{role}|>" for role in ROLES)
# For plain transformers; its tokenizer reads marks in a message as marks, which `ChatTokens` does not.
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


class ChatTokens:
    """Encodes conversations for one tokenizer, which has a token for each of MARKS; `max_tokens` is what the network reads at
    once."""

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        self.tokenizer, self.max_tokens = tokenizer, max_tokens
        self.marks = {role: tokenizer.convert_tokens_to_ids(mark) for role, mark in zip(ROLES, MARKS, strict=True)}
        self.end, self.start = tokenizer.eos_token_id, tokenizer.bos_token_id
        self.backend = tokenizer.backend_tokenizer
        self.backend.encode_special_tokens = True  # special tokens that somebody writes are plain text

    def text(self, text: str) -> list[int]:
        return self.backend.encode(text, add_special_tokens=False).ids

    def message(self, one: Message) -> list[int]:
        return [self.marks[one["role"]], *self.text(one["content"]), self.end]

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """All that stands before the answer, its mark included."""
        return [*self._begin(), *(token for one in messages for token in self.message(one)), self.marks["assistant"]]

    def answer(self, text: str) -> list[int]:
        """An answer and its end."""
        return [*self.text(text), self.end]

    def sample(self, messages: Sequence[Message]) -> Tokens:
        """A conversation of which the assistant's words, and the ends of its messages, are to be learnt; nothing is cut."""
        ids, learnt = self._begin(), [False] * len(self._begin())
        for one in messages:
            found = self.message(one)
            ids += found
            learnt += [False, *[one["role"] == "assistant"] * (len(found) - 1)]
        return Tokens(ids, learnt)

    def fitted(self, messages: Sequence[Message], answer: int = 0) -> list[Message]:
        """The messages that fit beside so many tokens of an answer: the oldest exchanges are left out, never half of one.

        The system's message and the last exchange stay. Raises BadRecord where these alone do not fit.
        """
        system = [one for one in messages[:1] if one["role"] == "system"]
        rest, room = list(messages[len(system) :]), self.max_tokens - answer - 1
        last = 2 if rest[-1]["role"] == "assistant" else 1  # an exchange, or the question alone
        while self.length([*system, *rest]) > room and len(rest) > last:
            rest = rest[2:]
        if (size := self.length([*system, *rest])) > room:
            raise BadRecord("too long", f"{size} tokens where {room} fit")
        return [*system, *rest]

    def length(self, messages: Sequence[Message]) -> int:
        return len(self._begin()) + sum(len(self.message(one)) for one in messages)

    def _begin(self) -> list[int]:
        return [] if self.start is None else [self.start]
