"""The whole assistant on the test split: figures of its parts, scores of single questions, answers to read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.chat_assistant.architecture import Answering, Architecture
from components.chat_assistant.measures.alignment import alignment_figures
from components.chat_assistant.measures.likelihood import likelihood_figures
from components.chat_assistant.measures.preference import preference_figures
from components.chat_assistant.measures.rewards import Judge, gold_of
from components.chat_assistant.measures.safety import safety_figures
from components.chat_assistant.measures.settings import Trying
from components.chat_assistant.networks import language_model
from components.chat_assistant.serve import ChatAssistant, assembled
from components.chat_assistant.tasks.reading import conversations, first, paired_records, prompts
from components.engines.generation.decoding import Decoding
from components.engines.language.dialogues import messages_of
from components.engines.language.records import Records
from components.engines.nn.device import own_device
from components.engines.scoring.buckets import by_slice
from components.engines.scoring.evaluation import shown_samples

POLICIES = ("sft", "dpo", "ppo")
MAX_CHARS = 1_000_000  # test questions are measured however long they are


class Trial:
    """Answers are what is served: filtered, drawn, chosen, judged."""

    def __init__(
        self, cleaned: Path, parts: dict[str, Path], architecture: Architecture, answering: Answering, trying: Trying
    ) -> None:
        self.cleaned, self.architecture, self.trying = cleaned, architecture, trying
        self.served: ChatAssistant = assembled(ChatAssistant, parts, architecture, answering, MAX_CHARS)
        self.tokens, self.limit = self.served.tokens, answering.decoding.max_new_tokens
        self.asked = first(prompts(cleaned, "test", self.tokens, self.limit), trying.num_questions)
        self.policies = {name: language_model.load(parts[name]).to(own_device()) for name in POLICIES}
        questions = [{"messages": messages_of(one.record.texts)[:-1]} for one in self.asked]
        self.answers = self.served.predict(questions, seed=trying.seed)

    def example_scores(self) -> list[dict[str, Any]]:
        """One row a question: slices, and what the served answer is worth (gold where it is known, else by the reward model)."""
        rows = []
        for one, answer in zip(self.asked, self.answers, strict=True):
            said = answer["answer"]
            gold = gold_of(one, said or "")
            worth = gold if gold is not None else answer["reward"] or 0.0
            slices = {"turns": str((len(messages_of(one.record.texts))) // 2)}
            if "task" in one.record.meta:
                slices["task"] = one.record.meta["task"]
            metrics = {"reward": float(worth), "answered": float(said is not None)}
            rows.append({"id": one.record.key, "slices": slices, "metrics": metrics})
        return rows

    def figures(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Everything but what the curves tell."""
        sft = self.policies["sft"]
        judge = Judge(
            self.tokens.tokenizer,
            self.served.generator.reward,
            sft,
            self.asked,
            Decoding(strategy="sample", max_new_tokens=self.limit),
            self.trying.seed,
        )
        train, test = (conversations(self.cleaned, split, self.tokens) for split in ("train", "test"))
        pairs = paired_records(self.cleaned, "test", self.tokens)
        ordinary = [messages_of(one.record.texts)[-2]["content"] for one in self.asked]
        values = [row["metrics"] for row in rows]
        return {
            "reward": _mean([one["reward"] for one in values]),
            "answered": _mean([one["answered"] for one in values]),
            **likelihood_figures(sft, train, test, self.architecture.max_tokens),
            **preference_figures(self.served.generator.reward, pairs),
            **alignment_figures(judge, self.policies, self.trying.draws, self.trying.best_of),
            **safety_figures(self.served.guard, list(Records(self.cleaned / "requests", "test")), ordinary),
            "test_questions": len(rows),
            "slices": by_slice(
                [row["slices"] for row in rows],
                lambda members: {name: _mean([values[index][name] for index in members]) for name in values[0]},
            ),
        }

    def samples(self, count: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The worst answers, the best, and arbitrary ones."""
        order = sorted(range(len(rows)), key=lambda number: rows[number]["metrics"]["reward"])

        def sample(number: int) -> dict[str, Any]:
            one, answer = self.asked[number], self.answers[number]
            said = messages_of(one.record.texts)
            fields = {"asked": said[-2]["content"], "answered": answer["answer"] or answer["refused"] or ""}
            fields["a person answered"] = said[-1]["content"]
            return {"id": one.record.key, "fields": fields, "score": rows[number]["metrics"]["reward"]}

        return shown_samples(order, count, sample)


def _mean(values: Sequence[float]) -> float:
    return float(sum(values) / max(len(values), 1))
