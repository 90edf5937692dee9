"""Modules and optimisers as named tensors, and safetensors files of them: exact, and never a pickle."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_file
from torch import Tensor, nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor

from components.engines.base.errors import StageError

Tensors = dict[str, Tensor]


def module_tensors(module: nn.Module) -> Tensors:
    """Parameters and persistent buffers by name; of tied ones the first name alone, since they are one tensor."""
    first: dict[int, str] = {}
    parameters = module.named_parameters(remove_duplicate=False)
    tied = {name for name, parameter in parameters if first.setdefault(id(parameter), name) != name}
    seen: set[tuple[object, ...]] = set()
    tensors = {}
    for name, tensor in module.state_dict().items():
        if name in tied:
            continue
        if not isinstance(tensor, DTensor):
            place = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride())
            if tensor.numel() and place in seen:
                continue
            seen.add(place)
        tensors[name] = tensor
    return tensors


def learnt_tensors(modules: dict[str, nn.Module], frozen: frozenset[str]) -> dict[str, Tensors]:
    """By module, what training changes: the tensors without the parameters that are `frozen` (`<module>.<parameter>`).

    Buffers count as learnt: running statistics and codebooks move without a gradient.
    """
    return {
        module: {name: tensor for name, tensor in module_tensors(network).items() if f"{module}.{name}" not in frozen}
        for module, network in modules.items()
    }


def digest_tensors(tensors: Tensors) -> str:
    """Of names, types, shapes and all bytes: SHA-256 at 1 to 2 GB/s, about what reading them from a disk took."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def write_tensors(path: Path, tensors: Tensors, frozen: str | None = None) -> None:
    """Write and flush one safetensors file; equal tensors give equal bytes. A full disk raises OSError.

    `frozen` is the digest of what belongs to them and is not written.
    """
    about = (
        {"format": "pt"} if frozen is None else {"frozen": frozen}
    )  # safetensors writes several keys in random order
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path, about)
    except SafetensorError as error:
        raise os_error_of(error, path) or error from error
    with path.open("rb") as file:
        os.fsync(file.fileno())


def os_error_of(error: BaseException, path: Path | None = None) -> OSError | None:
    """The system's error behind a failed write, if there is one: safetensors hides its number in a message."""
    if isinstance(error, OSError):
        return error
    number = re.search(r"os error (\d+)", str(error)) if isinstance(error, SafetensorError) else None
    return OSError(int(number[1]), os.strerror(int(number[1])), str(path or "")) if number else None


def load_module(module: nn.Module, path: Path) -> None:
    """Read `path` into `module`, in place; names and shapes must agree, tied weights are resolved.

    Of a file without the parameters that were frozen, the module must have those that it was trained on.
    """
    try:
        with safe_open(path, "pt") as file:
            frozen, names = (file.metadata() or {}).get("frozen"), set(file.keys())
        load_model(module, path, strict=frozen is None)
    except (SafetensorError, RuntimeError, FileNotFoundError) as error:
        raise StageError(
            f"These weights do not fit {type(module).__name__}: {error}",
            where=str(path),
            do="use the params and code that wrote them, or train again",
        ) from error
    tensors = module_tensors(module)
    rest = {name: tensor for name, tensor in tensors.items() if name not in names}
    if frozen is not None and (names - tensors.keys() or digest_tensors(rest) != frozen):
        raise StageError(
            f"These weights were trained on another base than this {type(module).__name__}: its frozen parameters differ",
            where=str(path),
            do="load the checkpoint and revision that training began with, or train again",
        )


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: dict[int, str]) -> Tensors:
    """An optimiser's state as `<parameter name>:<key>`, its scalar tensors (AdamW's `step`) included.

    Of a ZeroRedundancyOptimizer the share that this process keeps.
    """
    return {
        f"{names[id(parameter)]}:{key}": value
        for parameter, state in _kept_here(optimizer).state.items()
        for key, value in state.items()
    }


def empty_optimizer_tensors(
    optimizer: torch.optim.Optimizer, names: dict[int, str], saved: dict[str, torch.dtype]
) -> Tensors:
    """Zeros for what was `saved` of this optimiser's state, spread as its parameters are: to be loaded into."""
    empty: Tensors = {}
    kept = (parameter for group in _kept_here(optimizer).param_groups for parameter in group["params"])
    of_name = {names[id(parameter)]: parameter for parameter in kept}
    for name, dtype in saved.items():
        parameter = of_name.get(name.rsplit(":", 1)[0])
        if parameter is None:
            continue
        is_count = name.endswith(":step")
        empty[name] = torch.zeros((), dtype=dtype) if is_count else torch.zeros_like(parameter, dtype=dtype)
    return empty


def load_optimizer(optimizer: torch.optim.Optimizer, names: dict[int, str], tensors: Tensors) -> None:
    """The reverse of `optimizer_tensors`; parameters that had no state yet keep none."""
    optimizer = _kept_here(optimizer)
    by_parameter: dict[str, Tensors] = {}
    for name, tensor in tensors.items():
        parameter, key = name.rsplit(":", 1)
        by_parameter.setdefault(parameter, {})[key] = tensor
    ordered = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        index: by_parameter[names[id(parameter)]]
        for index, parameter in enumerate(ordered)
        if names[id(parameter)] in by_parameter
    }
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _kept_here(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    return optimizer.optim if isinstance(optimizer, ZeroRedundancyOptimizer) else optimizer


def parameter_names(modules: dict[str, nn.Module]) -> dict[int, str]:
    """`<module>.<parameter>` by the parameter's id: names outlast a change of layout, positions do not."""
    return {
        id(parameter): f"{module_name}.{name}"
        for module_name, module in modules.items()
        for name, parameter in module.named_parameters()
    }
