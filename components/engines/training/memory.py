"""Gradient checkpointing: activations of the repeated blocks are computed again in backward instead of kept.

Chen et al., "Training deep nets with sublinear memory cost", arXiv:1604.06174. Results do not change: the second pass
runs under the first one's autocast and draws.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from components.engines.base.errors import UsageError
from components.engines.training.parallel.blocks import repeated_blocks
from components.engines.training.params import Training
from components.engines.training.task import Task

aten = torch.ops.aten
# `selective` keeps what is dear to compute and small, and recomputes the rest, which is cheap and large (Korthikanti et
# al., arXiv:2205.05198 § 5); kept are products, convolutions and attention, about as in torchtitan.
KEPT = {
    aten.mm.default,
    aten.addmm.default,
    aten.bmm.default,
    aten.baddbmm.default,
    aten.convolution.default,
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
}

# A second pass would add its keys and values to a cache once more. Without one a training pass computes the same, and
# transformers' own checkpointing (GradientCheckpointingLayer) leaves it out too.
NO_CACHE = {"use_cache": False, "past_key_values": None, "past_key_value": None, "layer_past": None}


def recompute_blocks(task: Task, training: Training) -> None:
    """Wrap the forward of each block, in place: modules, parameter names and hooks stay as they are.

    Raises UsageError if there is no block, or if one keeps running statistics, which a second pass would move again.
    """
    if training.gradient_checkpointing == "off":
        return
    blocks = blocks_of(task)
    if not blocks:
        raise UsageError(
            f"gradient_checkpointing is {training.gradient_checkpointing}, but this model has no repeated blocks",
            do="set it to off, or let the task name its blocks (Task.blocks)",
        )
    for block in blocks:
        _refuse_statistics(block)
    options = {"context_fn": _keep_dear_results} if training.gradient_checkpointing == "selective" else {}
    for block in blocks:
        # A partial of a bound method: a deep copy of the block runs the copy, as a closure would not.
        block.forward = functools.partial(_recomputed, options, block.forward)


def blocks_of(task: Task) -> list[nn.Module]:
    """The blocks the task names, else the repeated ones of its networks."""
    if task.blocks is not None:
        return list(task.blocks)
    found = (block for module in task.modules.values() for block in repeated_blocks(module))
    return list({id(block): block for block in found}.values())  # a block may be in two modules


def _refuse_statistics(block: nn.Module) -> None:
    for name, module in block.named_modules():
        if isinstance(module, _NormBase) and module.track_running_stats:
            raise UsageError(
                f"{type(block).__name__} cannot be recomputed: its {name or 'own'} ({type(module).__name__}) keeps "
                "running statistics, which a second pass would move again",
                do="set gradient_checkpointing: off, or normalise without them (LayerNorm, GroupNorm)",
            )


def _recomputed(options: dict[str, Any], forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    kwargs |= {name: value for name, value in NO_CACHE.items() if name in kwargs}
    # Keywords travel as an argument: checkpoint looks for the device, whose draws it repeats, among its arguments.
    return checkpoint(_call, forward, args, kwargs, use_reentrant=False, **options)


def _call(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return forward(*args, **kwargs)


def _keep_dear_results() -> Any:
    return create_selective_checkpoint_contexts(_policy)


def _policy(_: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    if op in KEPT and not _draws(op, args, kwargs):
        return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE


def _draws(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Attention with dropout must run again: if its draws were left out, those after it would be others."""
    names = (argument.name for argument in op._schema.arguments)
    return bool({**dict(zip(names, args, strict=False)), **kwargs}.get("dropout_p", 0.0))
