"""Wan's transformer with a mixture of experts in place of each feed-forward network.

Experts choose their tokens (Zhou et al. 2022, arXiv 2202.09368; for diffusion Sun et al. 2024, arXiv 2410.02098): all of them
work equally much, without a further loss, and tokens that are harder may be chosen by several.
"""

from __future__ import annotations

import torch
from diffusers import WanTransformer3DModel
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional


class ExpertChoice(nn.Module):
    """`experts` feed-forward networks; each takes, of every sample, the tokens that rate it highest.

    Together they take `capacity` times as many tokens as there are: at 1 the cost is that of one dense network of their size.
    """

    def __init__(self, width: int, hidden: int, experts: int, capacity: float) -> None:
        super().__init__()
        self.capacity = capacity
        self.router = nn.Linear(width, experts, bias=False)
        self.enter = nn.Parameter(torch.randn(experts, width, hidden) / width**0.5)
        self.leave = nn.Parameter(torch.randn(experts, hidden, width) / hidden**0.5)

    def forward(self, tokens_bnd: Tensor) -> Tensor:
        """[batch, tokens, width] -> the same; a sample's answer does not depend on what is beside it."""
        batch, count, width = tokens_bnd.shape
        experts = len(self.enter)
        chosen = min(max(round(self.capacity * count / experts), 1), count)
        rates_ben = self.router(tokens_bnd.float()).softmax(-1).transpose(1, 2)  # [batch, experts, tokens]
        weight_bec, place_bec = rates_ben.topk(chosen, dim=-1)
        place = place_bec[..., None].expand(-1, -1, -1, width)
        taken_becd = tokens_bnd[:, None].expand(-1, experts, -1, -1).gather(2, place)
        hidden = functional.gelu(torch.einsum("becd,edh->bech", taken_becd, self.enter), approximate="tanh")
        made_becd = torch.einsum("bech,ehd->becd", hidden, self.leave) * weight_bec[..., None].type_as(hidden)
        out = made_becd.new_zeros(batch, count, width)
        flat = place_bec.flatten(1)[..., None].expand(-1, -1, width)
        return out.scatter_add(1, flat, made_becd.flatten(1, 2))


class ExpertWanTransformer3DModel(WanTransformer3DModel):
    """WanTransformer3DModel with `num_experts` in each block; plain diffusers does not know it."""

    blocks: nn.ModuleList

    @register_to_config
    def __init__(
        self,
        patch_size: tuple[int, ...] = (1, 2, 2),
        num_attention_heads: int = 40,
        attention_head_dim: int = 128,
        in_channels: int = 16,
        out_channels: int = 16,
        text_dim: int = 4096,
        freq_dim: int = 256,
        ffn_dim: int = 13824,
        num_layers: int = 40,
        cross_attn_norm: bool = True,
        rope_max_seq_len: int = 1024,
        num_experts: int = 4,
        capacity: float = 2.0,
    ) -> None:
        super().__init__(
            patch_size=patch_size,
            num_attention_heads=num_attention_heads,
            attention_head_dim=attention_head_dim,
            in_channels=in_channels,
            out_channels=out_channels,
            text_dim=text_dim,
            freq_dim=freq_dim,
            ffn_dim=ffn_dim,
            num_layers=num_layers,
            cross_attn_norm=cross_attn_norm,
            rope_max_seq_len=rope_max_seq_len,
        )
        for block in self.blocks:
            block.ffn = ExpertChoice(num_attention_heads * attention_head_dim, ffn_dim, num_experts, capacity)
