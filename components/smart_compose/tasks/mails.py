"""A mail as tokens: `<s> subject <previous> the mail answered <body> what is written </s>`, of which the last part is learnt.

Every text is encoded behind a space, so that its first word is the token that it is inside a text. A body that does not fit
is read in windows that overlap by half, when it is learnt as when it is typed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from components.engines.language.causal import Tokens
from components.engines.text.pii import PLACEHOLDERS
from components.smart_compose.architecture import Architecture

PREVIOUS, BODY = "<previous>", "<body>"
MARKS = (PREVIOUS, BODY, *PLACEHOLDERS)
_PLACEHOLDER = re.compile(f"({'|'.join(map(re.escape, PLACEHOLDERS))})")


class MailTokens:
    """Encodes mails for one tokenizer. Placeholders are single tokens; other special tokens that somebody writes are plain
    text."""

    def __init__(self, tokenizer: Any, architecture: Architecture) -> None:
        self.tokenizer, self.shape = tokenizer, architecture
        self.special = {token: tokenizer.convert_tokens_to_ids(token) for token in MARKS}
        self.backend = tokenizer.backend_tokenizer
        self.backend.encode_special_tokens = True

    def text(self, text: str) -> list[int]:
        """Tokens of a text as it is: whoever wants its first word as inside a text puts a space before it."""
        pieces = [piece for piece in _PLACEHOLDER.split(text) if piece]
        parts = [
            [self.special[piece]] if piece in self.special else self.backend.encode(piece, add_special_tokens=False).ids
            for piece in pieces
        ]
        return [token for part in parts for token in part]

    def context(self, subject: str, previous: str) -> list[int]:
        """What stands before a body: at most `context_tokens`, a quarter of them for the subject; both are cut at their end."""
        room = self.shape.context_tokens - 3
        start = self.tokenizer.bos_token_id
        head = self.text(f" {subject}")[: room // 4] if subject else []
        answered = self.text(f" {previous}")[: room - len(head)] if previous else []
        before = [] if start is None else [start]
        return [*before, *head, self.special[PREVIOUS], *answered, self.special[BODY]]

    def typed(self, context: list[int], body: list[int]) -> list[int]:
        """What is read of a body so far: all, or its last window, moved on by half a window at a time; a quarter stays free."""
        room = self.shape.max_tokens - len(context)
        step, over = room // 2, len(body) - (room - room // 4)
        start = max(-(-over // step), 0) * step
        return [*context, *body[start:]]

    def samples(self, texts: dict[str, str]) -> list[Tokens]:
        """The mail's windows: each token of its body, and its end, is learnt in the first one that holds it."""
        context = self.context(texts["subject"], texts["previous"])
        body = [*self.text(f" {texts['body']}"), self.tokenizer.eos_token_id]
        room = self.shape.max_tokens - len(context)
        step, found, known = room // 2, [], 0
        for start in range(0, max(len(body) - room, 0) + step, step):
            window = body[start : start + room]
            learnt = [False] * len(context) + [start + place >= known for place in range(len(window))]
            found.append(Tokens([*context, *window], learnt))
            known = start + len(window)
            if known == len(body):
                break
        return found


class MailWindows(Sequence[Tokens]):
    """The windows of all mails of a split, each encoded when it is asked for; `mails[i]` is the number of window i's mail."""

    def __init__(self, records: Sequence[Any], tokens: MailTokens) -> None:
        self.records, self.tokens = records, tokens
        counts = [len(tokens.samples(one.texts)) for one in records]
        self.mails = [mail for mail, count in enumerate(counts) for _ in range(count)]
        self.places = [place for count in counts for place in range(count)]

    def __len__(self) -> int:
        return len(self.mails)

    def __getitem__(self, index: Any) -> Any:
        return self.tokens.samples(self.records[self.mails[index]].texts)[self.places[index]]
