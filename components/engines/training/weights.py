"""Modules and optimisers as named tensors, and safetensors files of them: exact, and never a pickle."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_file
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


def write_tensors(path: Path, tensors: Tensors) -> None:
    """Write and flush one safetensors file; equal tensors give equal bytes. A full disk raises OSError."""
    try:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path, {"format": "pt"}
        )
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
    """Read `path` into `module`, in place; names and shapes must agree, tied weights are resolved."""
    try:
        load_model(module, path)
    except (SafetensorError, RuntimeError, FileNotFoundError) as error:
        raise StageError(
            f"These weights do not fit {type(module).__name__}: {error}",
            where=str(path),
            do="use the params and code that wrote them, or train again",
        ) from error


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


def read_tensors(path: Path) -> Tensors:
    """The tensors of a file, in memory of their own: safetensors maps the file, at whatever alignment it has."""
    return {name: tensor.clone() for name, tensor in load_file(path).items()}
