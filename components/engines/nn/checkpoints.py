"""Parts of a checkpoint from a hub id or a folder: safetensors only, in fp32, no code from the checkpoint, one clear error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError


def load_network(kind: Any, folder: str | Path, what: str, **options: Any) -> Any:
    """A network of the transformers class `kind`, in fp32 whatever it was saved in: optimisers lose small steps in halves.

    Raises UsageError, also where weights are missing or have other shapes than its config says: transformers would draw the
    missing ones at random. `what` names it in errors ("a CLIP model"); `options` are from_pretrained's.
    """
    import torch

    try:
        network, found = kind.from_pretrained(
            str(folder),
            use_safetensors=True,
            output_loading_info=True,
            trust_remote_code=False,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # told below, by name
            **options,
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Cannot load {what}: {first_line(error)}",
            where=str(folder),
            do=f"give a hub id or a folder with config.json and model.safetensors of a {kind.__name__}",
        ) from None
    require_whole(found, str(folder), what, kind.__name__)
    return network


def require_whole(found: Any, where: str, what: str, kind: str) -> None:
    """Raises UsageError if a library's loading info tells of weights that are missing or have other shapes."""
    lacking = sorted(found["missing_keys"])
    if lacking:
        raise UsageError(
            f"Cannot load {what}: the checkpoint lacks {len(lacking)} of its weights ({', '.join(lacking[:3])} …)",
            where=where,
            do=f"give a checkpoint of a {kind}",
        )
    misfits = sorted(str(one[0]) for one in found["mismatched_keys"])
    if misfits:
        raise UsageError(
            f"Cannot load {what}: {len(misfits)} of its weights have other shapes than its config says "
            f"({', '.join(misfits[:3])} …)",
            where=where,
            do="give config.json and weights of one checkpoint",
        )


def load_tokenizer(folder: str | Path, **options: Any) -> Any:
    """`options`: AutoTokenizer's."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, **options)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Cannot load a tokenizer: {first_line(error)}", where=str(folder), do="give a folder with a tokenizer"
        ) from None


def load_processor(kind: Any, folder: str | Path) -> Any:
    """An image processor of class `kind`: one that works on Pillow gives equal pixels on every machine."""
    try:
        return kind.from_pretrained(str(folder))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Cannot load an image processor: {first_line(error)}",
            where=str(folder),
            do="give a folder with preprocessor_config.json",
        ) from None


def first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
