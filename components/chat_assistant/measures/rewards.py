"""What a policy's answers are worth: by the reward model, and, on the sample world, by the gold reward that nothing is trained
on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from components.chat_assistant.networks.scorer import score_all
from components.chat_assistant.tasks.advantages import k3
from components.chat_assistant.tasks.preferred import token_logps
from components.chat_assistant.tasks.reading import Prompt
from components.chat_assistant.tasks.rollouts import answers
from components.chat_assistant.world.instructions import gold_reward
from components.engines.generation.decoding import Decoding
from components.engines.language.pairs import pad

BATCH = 128


@dataclass(frozen=True)
class Judged:
    """One drawn answer; `gold` is None where nobody knows what is right."""

    text: str
    learned: float
    gold: float | None
    kl: float
    entropy: float


class Judge:
    """Draws answers to the same questions with the same draws whenever it is asked, and says what they are worth."""

    def __init__(
        self, words: Any, reward: Any, reference: Any, asked: Sequence[Prompt], decoding: Decoding, seed: int
    ) -> None:
        self.words, self.reward, self.reference = words, reward, reference
        self.asked, self.decoding, self.seed = asked, decoding, seed

    def figures(self, policy: Any) -> dict[str, float]:
        """Means over the questions: reward (learned and gold), KL of an answer, entropy of a token."""
        found = self.judged(policy)
        figures = {
            "learned_reward": _mean([one.learned for one in found]),
            "measured_kl": _mean([one.kl for one in found]),
            "measured_entropy": _mean([one.entropy for one in found]),
        }
        gold = [one.gold for one in found if one.gold is not None]
        return figures | ({"gold_reward": _mean(gold)} if gold else {})

    def judged(self, policy: Any, copies: int = 1) -> list[Judged]:
        """`copies` answers in a row for each question."""
        prompts = [one.ids for one in self.asked]
        drawn = answers(policy, prompts, self.decoding, self.seed, copies=copies)
        asked = [one for one in self.asked for _ in range(copies)]
        whole = [[*one.ids, *answer, self.words.eos_token_id] for one, answer in zip(asked, drawn, strict=True)]
        learned = score_all(self.reward, whole)[:, 0].tolist()
        kls, entropies = self._apart(policy, [len(one.ids) for one in asked], whole)
        texts = [self.words.decode(answer, skip_special_tokens=True) for answer in drawn]
        return [
            Judged(text, reward, gold_of(one, text), kl, entropy)
            for one, text, reward, kl, entropy in zip(asked, texts, learned, kls, entropies, strict=True)
        ]

    @torch.inference_mode()
    def _apart(self, policy: Any, starts: list[int], whole: list[list[int]]) -> tuple[list[float], list[float]]:
        """(KL of each answer from the reference's, by k3, mean entropy of its tokens) in nats."""
        kls: list[float] = []
        entropies: list[float] = []
        device, pad_id = next(policy.parameters()).device, self.words.pad_token_id
        for begin in range(0, len(whole), BATCH):
            rows, places = whole[begin : begin + BATCH], starts[begin : begin + BATCH]
            ids = torch.from_numpy(pad(rows, pad_id)).to(device)
            mask = torch.from_numpy(pad([[1] * len(row) for row in rows], 0)).to(device)
            kept = torch.from_numpy(
                pad([[0] * (start - 1) + [1] * (len(row) - start) for row, start in zip(rows, places, strict=True)], 0)
            ).to(device)
            ours, theirs = (
                model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, : kept.shape[1]].float()
                for model in (policy, self.reference)
            )
            following = ids[:, 1 : kept.shape[1] + 1]
            apart = k3(token_logps(ours, following), token_logps(theirs, following)) * kept
            spread = ours.log_softmax(-1)
            entropy = -(spread.exp() * spread).sum(-1) * kept
            kls += apart.sum(1).tolist()
            entropies += (entropy.sum(1) / kept.sum(1).clamp(min=1)).tolist()
        return kls, entropies


def gold_of(asked: Prompt, answer: str) -> float | None:
    right = asked.record.meta.get("right")
    return None if right is None else gold_reward(str(right), answer)


def _mean(values: Sequence[float]) -> float:
    return float(sum(values) / max(len(values), 1))
