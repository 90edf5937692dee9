"""A device that is none: tensors say that they lie on it, and the CPU computes what is asked of them.

As between CPU and GPU, an operation on tensors of both is refused (numbers without dimensions are let through), and values
come back by `.cpu()` and `.tolist()` only. So a model that was not moved is noticed, and so are inputs that stayed behind.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

import components
from components.engines.nn.device import own_device

NAME = "standin"
_COPIES = ("aten::copy_", "aten::_copy_from", "aten::_copy_from_and_resize")
_TAKE_PLACES = (torch.ops.aten.index, torch.ops.aten.index_put_)  # which may lie on the CPU, as with a GPU


class StandIn(torch.Tensor):
    """A tensor of the device; `held` has its values, on the CPU."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def of(values: torch.Tensor) -> StandIn:
        with torch.inference_mode(False):  # views of weights are made inside that mode, and must be plain tensors
            made = torch.Tensor._make_wrapper_subclass(
                StandIn, values.shape, values.stride(), dtype=values.dtype, device=torch.device(NAME, 0)
            )
        made.held = values.detach()
        return made

    def tolist(self):
        return self.held.tolist()

    def new_tensor(self, data):
        return StandIn.of(self.held.new_tensor(data))

    @classmethod
    def __torch_dispatch__(cls, op, types, args=(), kwargs=None):
        return _answer(op, *args, **(kwargs or {}))


def _answer(op, *args, **kwargs):
    """Any operation with a tensor or a `device` of ours: computed on what the tensors hold."""
    if op.name() in _COPIES:
        target, source = args[:2] if op.name() == "aten::copy_" else (args[1], args[0])
        _held(target).copy_(_held(source))
        return target
    stray = [
        one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor) and not isinstance(one, StandIn)
    ]
    if any(one.dim() for one in stray) and op.overloadpacket not in _TAKE_PLACES:
        raise RuntimeError(f"{op.name()}: tensors on {NAME} and on the CPU at once")
    named = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.device)]
    found = op(*tree_map(_held, args), **tree_map(_held, kwargs))
    if named and named[0].type == "cpu":
        return found
    declared = zip(args, op._schema.arguments, strict=False)
    written = [one for one, about in declared if about.alias_info and about.alias_info.is_write]
    if written and isinstance(found, torch.Tensor):
        return written[0]
    return tree_map(lambda one: StandIn.of(one) if isinstance(one, torch.Tensor) else one, found)


def _held(one):
    if isinstance(one, torch.device):
        return torch.device("cpu")
    return one.held if isinstance(one, StandIn) else one


def stand_in() -> torch.device:
    """The device, registered once a process."""
    if not hasattr(stand_in, "library"):
        _setup_privateuseone_for_python_backend(NAME)
        backend = getattr(torch, NAME)
        backend.is_available = lambda: False  # nobody else in this process is to find it
        backend.get_amp_supported_dtype = lambda: [torch.bfloat16]
        stand_in.library = torch.library.Library("_", "IMPL")
        stand_in.library.fallback(_answer, "PrivateUse1")
    return torch.device(NAME, 0)


def _moved(make):
    """`torch.tensor` or `torch.as_tensor`, which fill a tensor on the device below Python: here on the CPU, then moved."""

    def made(data, *, device=None, **options):
        found = make(data, **options)
        return found if device is None else found.to(device)

    return made


class Seen:
    """What ran while it watched: class names of modules with weights, on the device and elsewhere."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.elsewhere: set[str] = set()

    def __call__(self, module, _inputs) -> None:
        for weights in module.parameters(recurse=False):
            on_it = weights.device.type == NAME
            (self.there if on_it else self.elsewhere).add(type(module).__name__)


@contextmanager
def on_stand_in():
    """Inside the block the machine's device is the stand-in, for all modules of components; yields what ran, and where."""
    for found in pkgutil.walk_packages(components.__path__, "components."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)  # what is imported later would keep the stand-in
    device, seen = stand_in(), Seen()
    users = [module for module in list(sys.modules.values()) if getattr(module, "own_device", None) is own_device]
    with ExitStack() as stack:
        for module in users:
            stack.enter_context(patch.object(module, "own_device", lambda: device))
        for make in (torch.tensor, torch.as_tensor):
            stack.enter_context(patch.object(torch, make.__name__, _moved(make)))
        hook = torch.nn.modules.module.register_module_forward_pre_hook(seen)
        stack.callback(hook.remove)
        yield seen


def on_both(run):
    """What `run()` gives on the CPU and on the stand-in, where all its networks must have run; and the class names of these."""
    expected = run()
    with on_stand_in() as seen:
        found = run()
    assert seen.elsewhere == set()
    return expected, found, seen.there


def numbers(figures):
    """The figures that are numbers, for comparison: rounding may differ, nothing else."""
    return {name: value for name, value in figures.items() if isinstance(value, int | float)}
