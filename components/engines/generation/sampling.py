"""Sampling whose draws belong to each text, not to the batch it happens to be in."""

from __future__ import annotations

from typing import Any

from components.engines.base.seeds import derive
from components.engines.generation.decoding import Decoding


def sampling_processors(decoding: Decoding, seeds: list[int]) -> Any:
    """Temperature, top-k, top-p, then a draw per row: what greedy search picks behind them is a sample.

    Row i of the batch draws its t-th token by inverting the cumulative probabilities at u(seeds[i], t). The same text with
    the same seed gives the same sample alone and in any batch, on CPU and GPU, as far as padding leaves the model's
    probabilities alone: float rounding can move a draw that falls within 1e-6 of a boundary between two tokens.
    """
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    processors = LogitsProcessorList()
    if decoding.temperature not in (None, 1.0):
        processors.append(TemperatureLogitsWarper(float(decoding.temperature or 1.0)))
    if decoding.top_k is not None:
        processors.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p is not None and decoding.top_p < 1:
        processors.append(TopPLogitsWarper(decoding.top_p))
    processors.append(_draw(seeds))
    return processors


def _draw(seeds: list[int]) -> Any:
    import torch
    from transformers import LogitsProcessor

    class Draw(LogitsProcessor):
        """Leaves one token per row: the one drawn."""

        def __init__(self) -> None:
            self.step = 0

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            drawn = [derive(seed, "token", self.step) / 2**63 for seed in seeds]
            self.step += 1
            uniform = torch.tensor(drawn, dtype=torch.float64).unsqueeze(1)  # (rows, 1)
            cumulative = scores.double().softmax(-1).cumsum(-1).cpu()  # (rows, vocabulary)
            token = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)  # (rows, 1)
            token = token.clamp(max=scores.shape[-1] - 1).to(scores.device)
            return torch.full_like(scores, float("-inf")).scatter(1, token, 0.0)

    return Draw()
