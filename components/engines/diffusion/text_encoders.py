"""Text encoders that exist already, as the denoiser is told of texts by them."""

from __future__ import annotations

from pathlib import Path

from components.engines.diffusion.conditioning import Conditioner
from components.engines.nn.checkpoints import load_network, load_tokenizer
from components.engines.scoring.embedder import Embedder


def of_clip(source: str | Path, max_tokens: int) -> Conditioner:
    """The text tower of a CLIPModel."""
    embedder = Embedder.load(source)
    return Conditioner(embedder.network.text_model, embedder.tokenizer, max_tokens)


def of_t5(source: str, max_tokens: int) -> Conditioner:
    """The encoder of a T5 on the hub or in a folder."""
    from transformers import T5EncoderModel

    return Conditioner(load_network(T5EncoderModel, source, "a T5"), load_tokenizer(source), max_tokens)


def of_checkpoint(source: str, max_tokens: int) -> Conditioner:
    """The text tower of the CLIPModel, or the encoder of the T5, at `source`, as its config says."""
    from transformers import AutoConfig

    is_clip = AutoConfig.from_pretrained(source, trust_remote_code=False).model_type == "clip"
    return of_clip(source, max_tokens) if is_clip else of_t5(source, max_tokens)
