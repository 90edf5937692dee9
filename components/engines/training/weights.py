"""Modules and optimisers as named tensors, and safetensors files of them: exact, and never a pickle."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_file
from torch import Tensor, nn

from components.engines.base.errors import StageError

Tensors = dict[str, Tensor]


def module_tensors(module: nn.Module) -> Tensors:
    """Parameters and persistent buffers by name; of tied ones the first name alone, since they are one tensor."""
    seen: set[tuple[object, ...]] = set()
    tensors = {}
    for name, tensor in module.state_dict().items():
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
        raise _os_error(error, path) from error
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _os_error(error: SafetensorError, path: Path) -> Exception:
    """safetensors hides the system's error number in its message: give it back its meaning."""
    number = re.search(r"os error (\d+)", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1])), str(path)) if number else error


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
    """An optimiser's state as `<parameter name>:<key>`, its scalar tensors (AdamW's `step`) included."""
    return {
        f"{names[id(parameter)]}:{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, names: dict[int, str], tensors: Tensors) -> None:
    """The reverse of `optimizer_tensors`; parameters that had no state yet keep none."""
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
