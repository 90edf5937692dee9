"""The safety filter of requests and the evaluator of answers: one classifier, asked before and after."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from components.chat_assistant.architecture import Safety
from components.chat_assistant.networks.scorer import score_all
from components.engines.base.errors import BadRecord
from components.engines.language.chat_tokens import ChatTokens


class Guard:
    """Judges the last question of a conversation alone, and an answer beside the question that it answers."""

    def __init__(self, network: Any, tokens: ChatTokens, safety: Safety) -> None:
        self.network, self.tokens, self.safety = network, tokens, safety
        self.labels = [network.config.id2label[number] for number in range(network.config.num_labels)]

    def of_requests(self, asked: Sequence[str]) -> list[str | None]:
        """The category of harm of each, or None."""
        return self._named(self.harm([(one, None) for one in asked]), self.safety.input_threshold)

    def of_answers(self, said: Sequence[tuple[str, str]]) -> list[str | None]:
        """The category of harm of each (question, answer), or None."""
        return self._named(self.harm(said), self.safety.output_threshold)

    def harm(self, said: Sequence[tuple[str, str | None]]) -> list[list[float]]:
        """Probabilities by category, `harmless` first."""
        return score_all(self.network, [self._ids(*one) for one in said]).softmax(-1).tolist() if said else []

    def _ids(self, asked: str, answer: str | None) -> list[int]:
        """What does not fit is read from its end: what is asked stands there more often than at the beginning."""
        question = {"role": "user", "content": asked}
        messages = [question] if answer is None else [question, {"role": "assistant", "content": answer}]
        with suppress(BadRecord):
            messages = self.tokens.fitted(messages)
        return self.tokens.sample(messages).ids[-self.tokens.max_tokens :]

    def _named(self, probabilities: list[list[float]], threshold: float) -> list[str | None]:
        found: list[str | None] = []
        for harmless, *harms in probabilities:
            worst = max(range(len(harms)), key=harms.__getitem__)
            found.append(self.labels[worst + 1] if 1 - harmless >= threshold else None)
        return found
