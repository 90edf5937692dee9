"""Library networks of the three families that rooms train, tiny, on batches of one shape, with losses in pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.engines.base.seeds import derive
from components.engines.language.causal import CausalLM, Tokens
from components.engines.training.task import Batch, Pieces, Task, Turn

VOCABULARY, LENGTH, SAMPLES = 16, 8, 64


class Counting(CausalLM):
    """Counting in threes from a prompt of two numbers, which is not learnt, by a Llama with grouped queries and tied embeddings.

    The task of the rooms with decoder-only models; samples of different lengths are padded to one.
    """

    def __init__(self, heads: int, blocks: int) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=blocks,
            num_attention_heads=heads,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=LENGTH,
            tie_word_embeddings=True,
            use_cache=False,
        )
        samples = [self.sample(index) for index in range(SAMPLES)]
        super().__init__(LlamaForCausalLM(config), samples, samples[:16], pad_id=0, length=LENGTH)

    @staticmethod
    def sample(index: int) -> Tokens:
        draw = np.random.default_rng(derive(0, "sample", index))
        places = np.arange(draw.integers(4, LENGTH + 1))
        ids = (draw.integers(2, VOCABULARY) + 3 * places) % (VOCABULARY - 2) + 2
        return Tokens(ids.tolist(), (places >= 2).tolist())

    def score(self) -> dict[str, float]:
        return {"loss": super().score()["valid_loss"]}


class EncoderDecoder:
    """A Marian with one table of embeddings for encoder, decoder and head."""

    @staticmethod
    def build(heads: int, blocks: int) -> nn.Module:
        from transformers import MarianConfig, MarianMTModel

        config = MarianConfig(
            vocab_size=VOCABULARY,
            d_model=32,
            encoder_layers=blocks // 2,
            decoder_layers=blocks // 2,
            encoder_attention_heads=heads,
            decoder_attention_heads=heads,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            max_position_embeddings=LENGTH,
            dropout=0.0,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=1,
            forced_eos_token_id=None,
        )
        return MarianMTModel(config)

    @staticmethod
    def forward(network: nn.Module, batch: Batch) -> Tensor:
        reverse = batch["tokens"].flip(1)
        return network(input_ids=reverse, decoder_input_ids=batch["tokens"][:, :-1], use_cache=False).logits

    @staticmethod
    def targets(batch: Batch) -> Tensor:
        return batch["tokens"][:, 1:]


class DiT:
    """A PixArt transformer: self-attention, cross-attention to text, timestep modulation shared by all blocks."""

    @staticmethod
    def build(heads: int, blocks: int) -> nn.Module:
        from diffusers import PixArtTransformer2DModel

        return PixArtTransformer2DModel(
            num_attention_heads=heads,
            attention_head_dim=8,
            in_channels=2,
            out_channels=2,
            num_layers=blocks,
            cross_attention_dim=8 * heads,
            caption_channels=12,
            sample_size=4,
            patch_size=2,
            norm_num_groups=1,
            use_additional_conditions=False,
        )

    @staticmethod
    def forward(network: nn.Module, batch: Batch) -> Tensor:
        conditions = {"resolution": None, "aspect_ratio": None}
        return network(batch["noisy"], batch["text"], batch["times"], added_cond_kwargs=conditions).sample

    @staticmethod
    def targets(batch: Batch) -> Tensor:
        return batch["noise"]


class VideoDiT(DiT):
    """Wan's transformer on latents of two frames: queries and keys are normed over all heads."""

    @staticmethod
    def build(heads: int, blocks: int) -> nn.Module:
        from diffusers import WanTransformer3DModel

        return WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=heads,
            attention_head_dim=12,
            in_channels=2,
            out_channels=2,
            text_dim=12,
            freq_dim=16,
            ffn_dim=32,
            num_layers=blocks,
            rope_max_seq_len=8,
        )

    @staticmethod
    def forward(network: nn.Module, batch: Batch) -> Tensor:
        frames = torch.stack([batch["noisy"], batch["noisy"].flip(-1)], 2)  # [batch, 2, frames, 4, 4]
        return network(frames, batch["times"], batch["text"]).sample.mean(2)


FAMILIES = {"encoder_decoder": EncoderDecoder, "dit": DiT, "video_dit": VideoDiT}


class ToyNetwork(Task):
    def __init__(self, family: str, heads: int, blocks: int) -> None:
        self.family: Any = FAMILIES[family]
        self.is_text = not family.endswith("dit")
        self.network = self.family.build(heads, blocks)
        self.modules = {"network": self.network}
        pieces = Pieces("network", self.family.forward, self.loss_of)
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.turns = [Turn("net", self.loss, trained, len_of, pieces)]
        self.num_samples = SAMPLES

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        draws = [np.random.default_rng(derive(0, "sample", int(index))) for index in indices]
        if self.is_text:
            starts = np.array([draw.integers(2, VOCABULARY) for draw in draws])
            return {"tokens": torch.from_numpy((starts[:, None] + np.arange(LENGTH) * 3) % (VOCABULARY - 2) + 2)}
        noise = torch.from_numpy(np.stack([draw.standard_normal((2, 4, 4)) for draw in draws])).float()
        clean = torch.from_numpy(np.stack([draw.standard_normal((2, 4, 4)) for draw in draws])).float()
        text = torch.from_numpy(np.stack([draw.standard_normal((3, 12)) for draw in draws])).float()
        times = torch.tensor([int(draw.integers(0, 1000)) for draw in draws])
        return {"noisy": clean + noise, "noise": noise, "text": text, "times": times}

    def loss_of(self, output: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        targets = self.family.targets(batch)
        if not self.is_text:
            return functional.mse_loss(output, targets, reduction="none").mean((1, 2, 3)).sum(), {}
        losses = functional.cross_entropy(output.transpose(1, 2), targets, reduction="none")
        return losses.mean(1).sum(), {"right": (output.argmax(-1) == targets).float().mean(1).sum()}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return self.loss_of(self.family.forward(self.network, batch), batch)

    def score(self) -> dict[str, float]:
        return {"loss": float(self.loss(self.batch(np.arange(16), 0))[0]) / 16}


def len_of(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def make_task(family: str, heads: int = 4, blocks: int = 4) -> Task:
    return Counting(heads, blocks) if family == "decoder" else ToyNetwork(family, heads, blocks)
