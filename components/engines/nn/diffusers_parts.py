"""Parts of a checkpoint in the layout of a pipeline of diffusers: `vae/`, `unet/` or `transformer/`, `scheduler/`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError
from components.engines.nn.checkpoints import require_whole


def load_part(kind: Any, source: str | Path, subfolder: str | None, **options: Any) -> Any:
    """safetensors only, no code from the checkpoint; in fp32, which is to be said of quantized weights (8 bits stay 8 bits)."""
    import torch
    from diffusers import ModelMixin

    is_network = issubclass(kind, ModelMixin)
    where = "/".join(filter(None, (str(source), subfolder)))
    if is_network:
        # its advice against fp32 beside 8-bit weights is outdated: what is saved and loaded so agrees (tested)
        logging.getLogger("diffusers.quantizers.torchao").setLevel(logging.ERROR)
        told = {"output_loading_info": True, "ignore_mismatched_sizes": True}  # told below, by name
        options = {"use_safetensors": True, "torch_dtype": torch.float32, **told, **options}
    try:
        loaded = kind.from_pretrained(str(source), subfolder=subfolder, **options)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Cannot load a {kind.__name__}: {str(error).strip().splitlines()[0]}",
            where=where,
            do="give a hub id or a folder in the layout of a pipeline of diffusers, with safetensors",
        ) from None
    if not is_network:
        return loaded
    network, found = loaded
    require_whole(_with_quantized(network, found), where, f"a {kind.__name__}", kind.__name__)
    network.register_to_config(
        _name_or_path=""
    )  # diffusers would write the path on this machine into what is saved next
    return network


def class_of(source: str | Path, subfolder: str | None, default: str) -> str:
    """The class that a part says it is of; `default` where it says nothing, or there is no such part."""
    from diffusers import DDIMScheduler, DiTTransformer2DModel

    for kind in (DiTTransformer2DModel, DDIMScheduler):  # by the file's name: config.json, scheduler_config.json
        try:
            return str(kind.load_config(str(source), subfolder=subfolder).get("_class_name", default))
        except (OSError, ValueError):
            continue
    return default


def _with_quantized(network: Any, found: dict[str, Any]) -> dict[str, Any]:
    """Loading info of 8-bit weights too: diffusers leaves missing ones without memory and misshapen scales as they are."""
    misfits = {one[0] for one in found["mismatched_keys"]}
    lacking = {name for name, weight in network.named_parameters() if weight.is_meta} - misfits
    misfits |= {name for name, weight in network.named_parameters() if _is_quantized(weight) and not _opens(weight)}
    return {"missing_keys": lacking.union(found["missing_keys"]), "mismatched_keys": [(name,) for name in misfits]}


def _is_quantized(weight: Any) -> bool:
    return hasattr(type(weight), "tensor_data_names")  # of torchao's tensors, which hold several


def _opens(weight: Any) -> bool:
    try:
        return weight.dequantize().shape == weight.shape
    except RuntimeError:
        return False
