"""What gpu.py trains: a GPT and a DiT as plain torch modules, each with its data.

Names: B batch, T positions, D width, H heads, V vocabulary, C channels, S side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from components.engines.training.task import Batch


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x_btd: Tensor) -> Tensor:
        q_bhtk, k_bhtk, v_bhtk = self.qkv(x_btd).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y_bhtk = functional.scaled_dot_product_attention(q_bhtk, k_bhtk, v_bhtk, is_causal=self.causal)
        return self.out(y_bhtk.transpose(1, 2).flatten(2))  # (B, T, D)


class Gpt(nn.Module):
    """GPT-2 (Radford et al., 2019) with tied embeddings; the vocabulary is padded to a multiple of 64, as in nanoGPT."""

    def __init__(self, layers: int, heads: int, width: int, length: int, vocabulary: int) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(GptBlock(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.apply(_initialise)
        self.head.weight = self.token.weight

    def forward(self, tokens: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Next-token loss of (B, T) tokens and the tokens that follow them: a mean, under `loss`, as Trainer wants it."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x_btd = self.token(tokens) + self.position(positions)
        for block in self.blocks:
            x_btd = block(x_btd)
        logits_btv = self.head(self.norm(x_btd))
        return {"loss": functional.cross_entropy(logits_btv.flatten(0, 1), labels.flatten())}


class GptBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads, causal=True)
        self.norm2, self.mlp = nn.LayerNorm(width), _mlp(width)

    def forward(self, x_btd: Tensor) -> Tensor:
        x_btd = x_btd + self.attention(self.norm1(x_btd))
        return x_btd + self.mlp(self.norm2(x_btd))


class Dit(nn.Module):
    """DiT with adaLN-Zero (Peebles & Xie, arXiv:2212.09748), and the noise-prediction loss of Ho et al., arXiv:2006.11239."""

    def __init__(self, layers: int, heads: int, width: int, side: int, patch: int = 2, classes: int = 1000) -> None:
        super().__init__()
        self.patch, self.tokens_per_side = patch, side // patch
        self.embed = nn.Conv2d(4, width, patch, patch)
        self.position = nn.Parameter(0.02 * torch.randn(self.tokens_per_side**2, width))  # learned, not sin-cos
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.classes = nn.Embedding(classes, width)
        self.blocks = nn.ModuleList(DitBlock(width, heads) for _ in range(layers))
        self.norm, self.modulation = nn.LayerNorm(width, elementwise_affine=False), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, 4 * patch * patch)
        self.apply(_initialise)
        for zero in (self.modulation, self.out, *(block.modulation for block in self.blocks)):
            nn.init.zeros_(zero.weight)
        noise_kept = torch.linspace(1 - 1e-4, 1 - 0.02, 1000).cumprod(0)  # ᾱ of the linear schedule
        self.register_buffer("alpha_bars", noise_kept, persistent=False)

    def forward(self, latents: Tensor, classes: Tensor) -> dict[str, Tensor]:
        """Mean squared error of the noise predicted in (B, 4, S, S) latents, at a time drawn for each."""
        times_b = torch.randint(len(self.alpha_bars), (len(latents),), device=latents.device)
        noise_bcss, kept_b111 = torch.randn_like(latents), self.alpha_bars[times_b].view(-1, 1, 1, 1)
        noisy_bcss = kept_b111.sqrt() * latents + (1 - kept_b111).sqrt() * noise_bcss
        return {"loss": functional.mse_loss(self.denoise(noisy_bcss, times_b, classes).float(), noise_bcss)}

    def denoise(self, x_bcss: Tensor, times_b: Tensor, classes_b: Tensor) -> Tensor:
        condition_bd = functional.silu(self.time(_frequencies(times_b)) + self.classes(classes_b))
        x_btd = self.embed(x_bcss).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            x_btd = block(x_btd, condition_bd)
        shift_b1d, scale_b1d = self.modulation(condition_bd)[:, None].chunk(2, -1)
        y_btp = self.out(self.norm(x_btd) * (1 + scale_b1d) + shift_b1d)  # a patch per token
        y_bpt = y_btp.transpose(1, 2)
        return functional.fold(y_bpt, x_bcss.shape[-2:], self.patch, stride=self.patch)  # (B, 4, S, S)


class DitBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.attention, self.mlp = Attention(width, heads, causal=False), _mlp(width)
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, x_btd: Tensor, condition_bd: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition_bd)[:, None].chunk(6, -1)  # (B, 1, D)
        x_btd = x_btd + gate1 * self.attention(self.norm1(x_btd) * (1 + scale1) + shift1)
        return x_btd + gate2 * self.mlp(self.norm2(x_btd) * (1 + scale2) + shift2)


def _mlp(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def _frequencies(times_b: Tensor) -> Tensor:
    """(B, 256) cosines and sines of the time: Vaswani et al., arXiv:1706.03762 § 3.5."""
    rates = torch.exp(torch.arange(128, device=times_b.device) * (-math.log(10_000) / 128))
    angles = times_b[:, None].float() * rates
    return torch.cat([angles.cos(), angles.sin()], -1)


@dataclass(frozen=True)
class Workload:
    """A model with its data: `samples` holds one array per argument of its forward, a row per sample."""

    name: str
    make_model: Callable[[], nn.Module]
    samples: dict[str, np.ndarray]
    batch_size: int
    tokens_per_sample: int
    forward_backward_flops: float  # of one sample

    def batch(self, indices: np.ndarray) -> Batch:
        return {name: torch.from_numpy(rows[indices]) for name, rows in self.samples.items()}

    @property
    def num_samples(self) -> int:
        return len(next(iter(self.samples.values())))


def gpt(toy: bool, batch_size: int | None) -> Workload:
    """GPT-2 small at its full length of 1,024."""
    layers, heads, width, length, vocabulary = (2, 2, 64, 64, 512) if toy else (12, 12, 768, 1024, 50_304)
    draw = np.random.default_rng(0)
    tokens = draw.integers(0, vocabulary, (64 if toy else 4096, length + 1))

    def make_model() -> nn.Module:
        return Gpt(layers, heads, width, length, vocabulary)

    with torch.device("meta"):
        model = make_model()
    parameters = sum(parameter.numel() for parameter in model.parameters()) - length * width
    # Chowdhery et al., PaLM, arXiv:2204.02311 appendix B: 6N + 12 L H Q T per token; N without position embeddings
    per_token = 6 * parameters + 12 * layers * width * length
    samples = {"tokens": tokens[:, :-1], "labels": tokens[:, 1:]}
    size = batch_size or (4 if toy else 16)
    return Workload("toy GPT" if toy else "GPT-2 small (124 M)", make_model, samples, size, length, length * per_token)


def dit(toy: bool, batch_size: int | None) -> Workload:
    """DiT-B/2 on latents of 256-pixel images: 32 × 32 × 4, 256 tokens."""
    layers, heads, width, side = (2, 2, 64, 8) if toy else (12, 12, 768, 32)
    draw = np.random.default_rng(0)
    count = 64 if toy else 4096
    samples = {
        "latents": draw.standard_normal((count, 4, side, side), dtype=np.float32),
        "classes": draw.integers(0, 1000, count),
    }

    def make_model() -> nn.Module:
        return Dit(layers, heads, width, side)

    with torch.device("meta"):
        model, latents = make_model(), torch.empty(1, 4, side, side)
        one = torch.zeros(1, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model.denoise(latents, one, one)
    # the backward pass does every product of the forward pass twice (Kaplan et al., arXiv:2001.08361 § 2.1)
    size = batch_size or (4 if toy else 64)
    name, flops = "toy DiT" if toy else "DiT-B/2", 3.0 * counter.get_total_flops()
    return Workload(name, make_model, samples, size, (side // 2) ** 2, flops)
