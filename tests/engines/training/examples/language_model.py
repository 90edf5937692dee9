"""Train a language model on the characters of a text: one turn, one loss."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.engines.training.launch import launch
from components.engines.training.observe.curve import write_curve
from components.engines.training.params import Training
from components.engines.training.task import Batch, Task, Turn


class Decoder(nn.Module):
    """A pre-norm transformer decoder (B batch, T positions, D width, V characters)."""

    def __init__(self, vocabulary: int, length: int, width: int, num_layers: int) -> None:
        super().__init__()
        self.embed, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        block = partial(nn.TransformerEncoderLayer, width, 4, 4 * width, 0.1, batch_first=True, norm_first=True)
        self.blocks = nn.ModuleList(block() for _ in range(num_layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

    def forward(self, ids_bt: Tensor) -> Tensor:
        length = ids_bt.shape[1]
        x_btd = self.embed(ids_bt) + self.positions.weight[:length]
        mask_tt = nn.Transformer.generate_square_subsequent_mask(length, device=ids_bt.device)
        for block in self.blocks:
            x_btd = block(x_btd, src_mask=mask_tt, is_causal=True)
        return self.head(self.norm(x_btd))  # (B, T, V)


class LanguageModel(Task):
    """Windows of a text; the last tenth of it is kept for the score."""

    def __init__(self, text: Path, length: int, width: int, num_layers: int) -> None:
        characters = text.read_text(encoding="utf-8")
        self.alphabet = sorted(set(characters))
        ids = torch.tensor([self.alphabet.index(character) for character in characters])
        windows = ids.unfold(0, length + 1, length)  # (window, T + 1): inputs and the character after each
        self.num_samples = len(windows) * 9 // 10
        self.windows, self.held_out = windows[: self.num_samples], windows[self.num_samples :]
        self.model = Decoder(len(self.alphabet), length, width, num_layers)
        self.modules = {"model": self.model}
        self.turns = [Turn("lm", self.loss, list(self.model.parameters()), num_targets)]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return {"ids": self.windows[torch.from_numpy(indices)]}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        inputs_bt, targets_bt = batch["ids"][:, :-1], batch["ids"][:, 1:]
        logits_btv = self.model(inputs_bt)
        loss = functional.cross_entropy(logits_btv.flatten(0, 1).float(), targets_bt.flatten(), reduction="sum")
        return loss, {"accuracy": (logits_btv.argmax(-1) == targets_bt).sum()}

    def score(self) -> dict[str, float]:
        batch = {"ids": self.held_out.to(self.model.head.weight.device)}
        loss, sums = self.loss(batch)
        return {"loss": loss.item() / num_targets(batch), "accuracy": sums["accuracy"].item() / num_targets(batch)}


def num_targets(batch: Batch) -> int:
    return batch["ids"][:, 1:].numel()


def train(training: Training, *, text: Path, weights: Path, curve: Path, work: Path) -> dict[str, float]:
    """Text in, weights and loss curve out; returns the scores on the held-out end of the text."""
    fit = launch(partial(LanguageModel, text, length=16, width=32, num_layers=2), training, work=work)
    write_curve(curve, fit.curve)
    shutil.copytree(fit.weights, weights)
    return fit.scores
