"""Floating-point operations that the model asks for, counted in a forward pass: what MFU is measured by.

Model FLOPs are those of the mathematics, however they are carried out: recomputed activations do not count twice (Chowdhery
et al., PaLM, arXiv:2204.02311, appendix B). For a decoder that appendix gives, per token, 6·N + 12·L·H·Q·T, with N parameters in
matrices, L layers, H heads of size Q and T positions: 2 per parameter and token forwards (multiply, add), twice that
backwards. Counted here for any network: each matrix product of the forward pass with the formulas of torch.utils.flop_counter,
and once more for each operand that wants a gradient. Masked halves of causal attention count, as they do there.
Activations, norms and losses do not: they are below one percent. Custom kernels that torch does not know are not seen, nor
what reentrant checkpointing (`use_reentrant=True`) hides from autograd's view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

aten = torch.ops.aten
_BIAS_FIRST = {aten.addmm, aten.baddbmm}


class ModelFlops(TorchDispatchMode):
    """Adds up the FLOPs of forward passes run inside it, their backward passes included, in `total`.

    It looks on: the same kernels run on the same tensors, so results stay what they are, bit for bit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        kind = getattr(func, "overloadpacket", None)
        if kind is aten._scaled_dot_product_flash_attention_for_cpu:  # missing in torch's own table
            forward = sdpa_flop_count(*(tensor.shape for tensor in args[:3]))
        elif kind in flop_registry:
            forward = flop_registry[kind](*args, **kwargs, out_val=out)
        else:
            return out
        operands = args[1:3] if kind in _BIAS_FIRST else args[:2]
        wanted = sum(operand.requires_grad for operand in operands) if torch.is_grad_enabled() else 0
        self.total += forward * (1 + wanted)
        return out


def is_compiled(loss: Callable[..., Any], modules: Iterable[nn.Module]) -> bool:
    """Whether torch.compile has a hand in this loss: it would step aside, and give other bits, while FLOPs are counted."""
    if hasattr(loss, "_torchdynamo_orig_callable"):
        return True
    inner = [module for root in modules for module in root.modules()]
    inner += list(loss.modules()) if isinstance(loss, nn.Module) else []
    # `module.compile()`, and the wrapper that `torch.compile(module)` returns
    return any(module._compiled_call_impl is not None or "_orig_mod" in module._modules for module in inner)
