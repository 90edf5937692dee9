"""Answers drawn from a policy in batches, with keys and values kept: what PPO learns from, and what figures are measured on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from components.engines.base.seeds import derive
from components.engines.generation.decoding import Decoding, neutral, to_generation_config
from components.engines.generation.sampling import sampling_processors
from components.engines.language.pairs import pad

BATCH = 128


def left_padded(prompts: Sequence[list[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """(ids, mask), both [batch, tokens]: every prompt ends where its answer begins."""
    ids = torch.from_numpy(pad([one[::-1] for one in prompts], pad_id)).flip(1)
    return ids, torch.from_numpy(pad([[1] * len(one) for one in prompts], 0)).flip(1)


def draw(model: Any, ids: Tensor, mask: Tensor, seeds: Sequence[int], decoding: Decoding) -> tuple[Tensor, Tensor]:
    """(answers, mask) of each prompt, both [batch, new tokens]: the mask ends with the end token, padding follows.

    By transformers' `generate`; row i's draws belong to `seeds[i]`, in whatever batch it is. The caller sets eval mode.
    """
    config = to_generation_config(decoding, model)
    config.pad_token_id = model.config.pad_token_id
    drawn = {"logits_processor": sampling_processors(decoding, list(seeds))} if decoding.strategy == "sample" else {}
    made = neutral(model).generate(input_ids=ids, attention_mask=mask, generation_config=config, **drawn)
    answers = made.sequences[:, ids.shape[1] :]
    ended = answers == model.config.eos_token_id
    return answers, (ended.cumsum(1) - ended.long() == 0).long()


def row_seed(seed: int, prompt: Sequence[int], copy: int = 0) -> int:
    """Draws belong to the question, not to its place among others: equal questions are answered alike."""
    return derive(seed, "answer", " ".join(map(str, prompt)), copy)


@torch.inference_mode()
def answers(
    model: Any, prompts: Sequence[list[int]], decoding: Decoding, seed: int, *, copies: int = 1
) -> list[list[int]]:
    """Token ids of the answers, their ends left out, `copies` in a row for each prompt."""
    model.eval()
    rows = [(place, copy) for place in range(len(prompts)) for copy in range(copies)]
    order = sorted(rows, key=lambda row: len(prompts[row[0]]))
    found: dict[tuple[int, int], list[int]] = {}
    device, end = next(model.parameters()).device, model.config.eos_token_id
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        ids, mask = left_padded([prompts[place] for place, _ in chosen], model.config.pad_token_id)
        seeds = [row_seed(seed, prompts[place], copy) for place, copy in chosen]
        made, kept = draw(model, ids.to(device), mask.to(device), seeds, decoding)
        for row, tokens, length in zip(chosen, made.tolist(), kept.sum(1).tolist(), strict=True):
            answer = tokens[:length]
            found[row] = answer[:-1] if answer[-1:] == [end] else answer
    return [found[row] for row in rows]
