"""A room's training in small: everything a language model has to say to the engine."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.engines.base.seeds import derive
from components.engines.training.task import Batch, Task, Turn

VOCABULARY, LONGEST = 13, 9


class Gpt(nn.Module):
    """A pre-norm transformer decoder with tied embeddings (B batch, T positions, D width, V vocabulary)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Parameter(0.02 * torch.randn(LONGEST, width))
        layer = partial(nn.TransformerEncoderLayer, width, 2, 2 * width, dropout, batch_first=True, norm_first=True)
        self.layers = nn.ModuleList(layer() for _ in range(2))
        self.head = nn.Linear(width, VOCABULARY, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens_bt: Tensor) -> Tensor:
        length = tokens_bt.shape[1]
        x_btd = self.embed(tokens_bt) + self.positions[:length]
        mask_tt = nn.Transformer.generate_square_subsequent_mask(length)
        for layer in self.layers:
            x_btd = layer(x_btd, src_mask=mask_tt, is_causal=True)
        return self.head(x_btd)  # (B, T, V)


class ToyLanguageModel(Task):
    """Counting sequences of different lengths: token t + 1 follows t, or a mistake."""

    def __init__(self, width: int, dropout: float, num_samples: int, pause: float) -> None:
        self.model = Gpt(width, dropout)
        self.modules = {"model": self.model}
        self.turns = [Turn("lm", self.loss, list(self.model.parameters()), self.weight)]
        self.num_samples, self.pause = num_samples, pause

    def sample(self, index: int, epoch: int) -> np.ndarray:
        draw = np.random.default_rng(derive(0, "sample", epoch % 2, index))
        length = draw.integers(3, LONGEST + 1)
        tokens = (draw.integers(1, VOCABULARY) + np.arange(length)) % (VOCABULARY - 1) + 1
        return np.where(draw.random(length) < 0.1, draw.integers(1, VOCABULARY, length), tokens)

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        time.sleep(self.pause)
        samples = [torch.from_numpy(self.sample(int(index), epoch)) for index in indices]
        return {"tokens": nn.utils.rnn.pad_sequence(samples, batch_first=True)}  # 0 pads

    def weight(self, batch: Batch) -> int:
        return int((batch["tokens"][:, 1:] > 0).sum())

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        tokens_bt = batch["tokens"]
        logits_btv, targets_bt = self.model(tokens_bt[:, :-1]), tokens_bt[:, 1:]
        loss = functional.cross_entropy(logits_btv.transpose(1, 2), targets_bt, ignore_index=0, reduction="sum")
        right = ((logits_btv.argmax(-1) == targets_bt) & (targets_bt > 0)).sum()
        return loss, {"accuracy": right}

    def score(self) -> dict[str, float]:
        batch = self.batch(np.arange(32), epoch=1)
        loss, sums = self.loss(batch)
        weight = self.weight(batch)
        return {"loss": float(loss) / weight, "accuracy": float(sums["accuracy"]) / weight}


def make_task(width: int = 16, dropout: float = 0.1, num_samples: int = 50, pause: float = 0.0) -> Task:
    return ToyLanguageModel(width, dropout, num_samples, pause)
