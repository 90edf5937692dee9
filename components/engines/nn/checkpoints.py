"""Parts of a checkpoint from a hub id or a folder: safetensors only, no code from the checkpoint, one clear error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError


def load_network(kind: Any, folder: str | Path, what: str) -> Any:
    """A network of the transformers class `kind`. Raises UsageError, also where the checkpoint lacks some of its weights.

    `what` names it in errors ("a CLIP model"). Without the check transformers would draw the missing weights at random.
    """
    try:
        network, found = kind.from_pretrained(str(folder), use_safetensors=True, output_loading_info=True)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Cannot load {what}: {first_line(error)}",
            where=str(folder),
            do=f"give a hub id or a folder with config.json and model.safetensors of a {kind.__name__}",
        ) from None
    if found["missing_keys"]:
        lacking = sorted(found["missing_keys"])
        raise UsageError(
            f"Cannot load {what}: the checkpoint lacks {len(lacking)} of its weights ({', '.join(lacking[:3])} …)",
            where=str(folder),
            do=f"give a checkpoint of a {kind.__name__}",
        )
    return network


def load_tokenizer(folder: str | Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder))
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
