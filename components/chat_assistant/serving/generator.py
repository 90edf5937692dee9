"""The response generator: an answer drawn from the model, or the best of several by the reward model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.chat_assistant.networks.scorer import score_all
from components.chat_assistant.tasks.rollouts import answers, row_seed
from components.engines.generation.decoding import Decoding
from components.engines.generation.text import stream_ids
from components.engines.language.chat_tokens import ChatTokens
from components.engines.language.dialogues import Message


@dataclass(frozen=True)
class Made:
    """An answer; `finished` is false where the length limit cut it, `score` what the reward model gives it."""

    text: str
    finished: bool
    score: float


class Generator:
    """`reward` chooses; it reads tokens as the model does."""

    def __init__(self, model: Any, reward: Any, tokens: ChatTokens) -> None:
        self.model, self.reward, self.tokens = model, reward, tokens

    def make(self, asked: list[list[Message]], decoding: Decoding, best_of: int, seed: int) -> list[Made]:
        """An answer to each conversation: of `best_of` drawn ones that with the highest reward, of equals the first."""
        copies = best_of if decoding.strategy == "sample" else 1
        prompts = [self.tokens.prompt(one) for one in asked]
        drawn = answers(self.model, prompts, decoding, seed, copies=copies)
        whole = [[*prompts[place // copies], *one, self.tokens.end] for place, one in enumerate(drawn)]
        scores = score_all(self.reward, whole)[:, 0].tolist()
        made = []
        for start in range(0, len(drawn), copies):
            best = max(range(start, start + copies), key=scores.__getitem__)
            made.append(Made(self._text(drawn[best]), len(drawn[best]) < decoding.max_new_tokens, scores[best]))
        return made

    def stream(self, asked: list[Message], decoding: Decoding, seed: int) -> Iterator[str]:
        """Pieces of the one answer that `make` draws with the same seed."""
        ids = self.tokens.prompt(asked)
        return stream_ids(self.model, self.tokens.tokenizer, ids, decoding, seed=row_seed(seed, ids))

    def _text(self, ids: list[int]) -> str:
        return self.tokens.tokenizer.decode(ids, skip_special_tokens=True).strip()
