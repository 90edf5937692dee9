"""Text encoders that exist already, as the denoiser is told of texts by them."""

from __future__ import annotations

from pathlib import Path

from components.engines.base.errors import UsageError
from components.engines.diffusion.conditioning import Conditioner
from components.engines.nn.checkpoints import first_line, load_network, load_tokenizer
from components.engines.scoring.embedder import Embedder


def of_clip(source: str | Path, max_tokens: int) -> Conditioner:
    """The text tower of a CLIPModel."""
    embedder = Embedder.load(source)
    return Conditioner(embedder.network.text_model, embedder.tokenizer, max_tokens)


def of_checkpoint(source: str, max_tokens: int) -> Conditioner:
    """The text tower of the CLIPModel, or the encoder of the T5 or UMT5, at `source`, as its config says."""
    from transformers import AutoConfig, T5EncoderModel, UMT5EncoderModel

    encoders = {"t5": T5EncoderModel, "umt5": UMT5EncoderModel}
    try:
        kind = AutoConfig.from_pretrained(source, trust_remote_code=False).model_type
        if kind not in ("clip", *encoders):
            raise ValueError(f"it is a {kind}")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Cannot load a text encoder: {first_line(error)}",
            where=source,
            do="give a hub id (owner/name@commit) or a folder of a CLIPModel, T5 or UMT5",
        ) from None
    if kind == "clip":
        return of_clip(source, max_tokens)
    return Conditioner(load_network(encoders[kind], source, f"a {kind.upper()}"), load_tokenizer(source), max_tokens)
