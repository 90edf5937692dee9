"""Tensor parallelism: which matrices of which network are split by columns and which by rows (arXiv:1909.08053, section 3).

A pair of matrices costs one all-reduce forward and one backward: the first is split by columns, so that heads or hidden
units stay whole, the second by rows, so that its partial sums add up. Everything else is replicated.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.nn.functional import all_reduce
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module

from components.engines.base.errors import UsageError


@dataclass(frozen=True)
class Plan:
    """Name patterns of the matrices split each way, and of the modules that count heads, with the attributes that do."""

    columns: tuple[str, ...]
    rows: tuple[str, ...]
    heads: tuple[str, ...] = ()  # config attributes that must divide
    counted: dict[str, str] = field(default_factory=dict)  # module pattern: attribute to divide (diffusers' attention)
    norms: tuple[str, ...] = ()  # RMSNorms over all heads: each process norms its own by the squares of all


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
_WAN = Plan(
    columns=("*.blocks.*.attn?.to_q", "*.blocks.*.attn?.to_k", "*.blocks.*.attn?.to_v", "*.blocks.*.ffn.net.0.proj"),
    rows=("*.blocks.*.attn?.to_out.0", "*.blocks.*.ffn.net.2"),
    heads=("num_attention_heads", "ffn_dim"),
    counted={"*.blocks.*.attn?": "heads"},
    norms=("*.blocks.*.attn?.norm_q", "*.blocks.*.attn?.norm_k"),
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
    "WanTransformer3DModel": _WAN,
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
        if not isinstance(module, nn.Linear | nn.RMSNorm):
            continue
        if _matches(name, plan.columns):
            styles[name] = ColwiseParallel()
        elif _matches(name, plan.rows):
            styles[name] = RowwiseParallel()
        elif _matches(name, plan.norms):
            styles[name] = _SplitRMSNorm()
    parallelize_module(network, mesh, styles)
    for pattern, attribute in plan.counted.items():
        for name, module in network.named_modules():
            if _matches(name, (pattern,)) and hasattr(module, attribute):
                setattr(module, attribute, getattr(module, attribute) // mesh.size())


class _SplitRMSNorm(ParallelStyle):
    """An RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467) whose last dimension is spread over the mesh."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        assert isinstance(module, nn.RMSNorm)
        whole, epsilon = module.normalized_shape[0], module.eps
        weight = distribute_tensor(module.weight.detach(), device_mesh, [Shard(0)])
        module.register_parameter("weight", nn.Parameter(weight, requires_grad=module.weight.requires_grad))

        def forward(mine: Tensor) -> Tensor:
            """[…, whole / ways] -> the same"""
            squares = mine.float().square().sum(-1, keepdim=True)
            mean = all_reduce(squares, group=device_mesh.get_group()) / whole
            least = torch.finfo(mine.dtype).eps if epsilon is None else epsilon
            own = cast(DTensor, module.weight).to_local()
            return (mine.float() * (mean + least).rsqrt()).type_as(mine) * own

        module.forward = forward
        return module


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(f".{name}", pattern) for pattern in patterns)
