"""Tensor parallelism: which matrices of which network are split by columns and which by rows (arXiv:1909.08053, section 3).

A pair of matrices costs one all-reduce forward and one backward: the first is split by columns, so that heads or hidden
units stay whole, the second by rows, so that its partial sums add up. Everything else is replicated.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from components.engines.base.errors import UsageError


@dataclass(frozen=True)
class Plan:
    """Name patterns of the matrices split each way, and of the modules that count heads, with the attributes that do."""

    columns: tuple[str, ...]
    rows: tuple[str, ...]
    heads: tuple[str, ...] = ()  # config attributes that must divide
    counted: dict[str, str] = field(default_factory=dict)  # module pattern: attribute to divide (diffusers' attention)


_LLAMA = Plan(
    columns=("*.self_attn.q_proj", "*.self_attn.k_proj", "*.self_attn.v_proj", "*.mlp.gate_proj", "*.mlp.up_proj"),
    rows=("*.self_attn.o_proj", "*.mlp.down_proj"),
    heads=("num_attention_heads", "num_key_value_heads", "intermediate_size"),
)
_BART = Plan(
    columns=("*_attn.q_proj", "*_attn.k_proj", "*_attn.v_proj", "*.fc1"),
    rows=("*_attn.out_proj", "*.fc2"),
    heads=("encoder_attention_heads", "decoder_attention_heads", "encoder_ffn_dim", "decoder_ffn_dim"),
)
_DIT = Plan(
    columns=("*.attn?.to_q", "*.attn?.to_k", "*.attn?.to_v", "*.ff.net.0.proj"),
    rows=("*.attn?.to_out.0", "*.ff.net.2"),
    heads=("num_attention_heads",),
    counted={"*.attn?": "heads"},
)

PLANS: dict[str, Plan] = {
    "LlamaForCausalLM": _LLAMA,
    "LlamaForSequenceClassification": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "Qwen2ForCausalLM": _LLAMA,
    "MarianMTModel": _BART,
    "BartForConditionalGeneration": _BART,
    "DiTTransformer2DModel": _DIT,
    "PixArtTransformer2DModel": _DIT,
}


def plan_of(network: nn.Module, ways: int) -> Plan:
    """The plan for this network. Raises UsageError if there is none or its sizes do not divide by `ways`."""
    kind = type(network).__name__
    if kind not in PLANS:
        raise UsageError(
            f"There is no tensor-parallel plan for {kind}",
            where="training.layout.tensor",
            do=f"use sharded or pipeline, or one of {', '.join(sorted(PLANS))}",
        )
    plan = PLANS[kind]
    for name in plan.heads:
        size = getattr(network.config, name, None)
        if isinstance(size, int) and size % ways:
            raise UsageError(
                f"{kind}: {name} {size} is not divisible by tensor {ways}",
                where="training.layout.tensor",
                do=f"choose a number of ways that divides {size}",
            )
    return plan


def split_matrices(network: nn.Module, mesh: DeviceMesh) -> None:
    """Split the network's matrices over the mesh, in place; its parameters there become DTensors under the same names."""
    plan = plan_of(network, mesh.size())
    styles: dict[str, Any] = {}
    for name, module in network.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        if _matches(name, plan.columns):
            styles[name] = ColwiseParallel()
        elif _matches(name, plan.rows):
            styles[name] = RowwiseParallel()
    parallelize_module(network, mesh, styles)
    for pattern, attribute in plan.counted.items():
        for name, module in network.named_modules():
            if _matches(name, (pattern,)) and hasattr(module, attribute):
                setattr(module, attribute, getattr(module, attribute) // mesh.size())


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(f".{name}", pattern) for pattern in patterns)
