"""The two encoders: transformers' CLIPModel, from scratch or from a checkpoint, and what feeds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.clip.architecture import Architecture
from components.engines.base.errors import UsageError

_LEGACY_END = 2  # CLIPTextModel pools at the highest token number instead of the end token if eos_token_id is this


def build(architecture: Architecture, tokenizer: Any) -> Any:
    """A randomly initialised CLIPModel (Radford et al. 2021): ViT and causal text transformer, projected to one space.

    pixel_values [batch, 3, image_px, image_px], input_ids [batch, tokens] -> embeddings [batch, embedding_dim].
    """
    from transformers import CLIPConfig, CLIPModel

    heads = architecture.attention_heads
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": architecture.text_width,
        "intermediate_size": 2 * architecture.text_width,
        "num_hidden_layers": architecture.text_layers,
        "num_attention_heads": heads,
        "max_position_embeddings": architecture.max_tokens,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "projection_dim": architecture.embedding_dim,
    }
    vision = {
        "hidden_size": architecture.vision_width,
        "intermediate_size": 2 * architecture.vision_width,
        "num_hidden_layers": architecture.vision_layers,
        "num_attention_heads": heads,
        "image_size": architecture.image_px,
        "patch_size": architecture.patch_px,
        "projection_dim": architecture.embedding_dim,
    }
    network = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=architecture.embedding_dim))
    return _pooling_at_the_end(network, tokenizer, "clip.tokenizer")


def load(folder: str | Path, tokenizer: Any) -> Any:
    """A CLIPModel from a hub id or folder; safetensors only, no code from the checkpoint."""
    from transformers import CLIPModel

    try:
        network = CLIPModel.from_pretrained(str(folder), use_safetensors=True)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Cannot load a CLIP model: {_first_line(error)}",
            where=str(folder),
            do="give a hub id or a folder with config.json and model.safetensors of a CLIPModel",
        ) from None
    return _pooling_at_the_end(network, tokenizer, str(folder))


def _pooling_at_the_end(network: Any, tokenizer: Any, where: str) -> Any:
    """Refuse a text encoder that would not read its embedding off the end token (AUC .61 instead of .99, without an error)."""
    told, end = network.config.text_config.eos_token_id, tokenizer.eos_token_id
    # The legacy pooling finds the end token all the same where that has the highest number, as OpenAI's checkpoints have it.
    finds_end = end == len(tokenizer) - 1 if told == _LEGACY_END else end == told
    if not finds_end:
        raise UsageError(
            f"The text encoder pools at token {told}, but texts end in token {end} of {len(tokenizer)}",
            where=where,
            do="set text_config.eos_token_id to the tokenizer's end token, which must not be number 2",
        )
    return network


def load_tokenizer(folder: str | Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Cannot load a tokenizer: {_first_line(error)}", where=str(folder), do="check architecture.init_from"
        ) from None


def build_processor(architecture: Architecture) -> Any:
    """Pictures as the image encoder wants them: the shorter side and a square from the middle at `image_px`, normalised."""
    from transformers import CLIPImageProcessorPil

    px = architecture.image_px
    return CLIPImageProcessorPil(size={"shortest_edge": px}, crop_size={"height": px, "width": px})


def load_processor(folder: str | Path) -> Any:
    """The image processor of a checkpoint, on Pillow whatever is installed: equal pixels on every machine."""
    from transformers import CLIPImageProcessorPil

    try:
        return CLIPImageProcessorPil.from_pretrained(str(folder))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Cannot load an image processor: {_first_line(error)}",
            where=str(folder),
            do="give a folder with preprocessor_config.json",
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
