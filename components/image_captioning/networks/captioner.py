"""The captioners from scratch: BLIP, or a ResNet before BLIP's decoder (loading: engines/generation/captioner.py)."""

from __future__ import annotations

import math
from typing import Any

from components.engines.nn.positions import set_positions
from components.image_captioning.architecture import GRID_STRIDES, Architecture


def build(architecture: Architecture, tokenizer: Any) -> Any:
    """A randomly initialised `BlipForConditionalGeneration` (Li et al. 2022) or `GridCaptioner`, with its positions set.

    pixel_values [batch, 3, image_px, image_px], input_ids [batch, tokens] -> logits [batch, tokens, vocabulary].
    """
    network = (build_blip if architecture.family == "blip" else build_grid)(architecture, tokenizer)
    holder = network.vision_model.embeddings if architecture.family == "blip" else network
    set_positions(holder, "position_embedding", architecture.positions, architecture.side, architecture.side)
    return network


def build_blip(architecture: Architecture, tokenizer: Any) -> Any:
    from transformers import BlipConfig, BlipForConditionalGeneration

    vision = {
        "hidden_size": architecture.encoder_width,
        "intermediate_size": 2 * architecture.encoder_width,
        "num_hidden_layers": architecture.encoder_layers,
        "num_attention_heads": architecture.attention_heads,
        "image_size": architecture.image_px,
        "patch_size": architecture.patch_px,
        "initializer_range": 0.02,  # the class's own 1e-10 is meant for weights that are loaded
    }
    return BlipForConditionalGeneration(
        BlipConfig(text_config=_text_shape(architecture, tokenizer), vision_config=vision)
    )


def build_grid(architecture: Architecture, tokenizer: Any) -> Any:
    """ResNet's basic blocks (He et al. 2016), widths doubling up to `encoder_width`."""
    from components.engines.nn.grid_captioner import GridCaptioner, GridCaptionerConfig

    stages = GRID_STRIDES.index(architecture.patch_px) + 1
    widths = [math.ceil(architecture.encoder_width / 2 ** (stages - stage)) for stage in range(1, stages + 1)]
    vision = {
        "embedding_size": math.ceil(widths[0] / 2),
        "hidden_sizes": widths,
        "depths": [architecture.encoder_layers] * stages,
        "layer_type": "basic",
    }
    return GridCaptioner(
        GridCaptionerConfig(
            vision_config=vision, text_config=_text_shape(architecture, tokenizer), image_size=architecture.image_px
        )
    )


def _text_shape(architecture: Architecture, tokenizer: Any) -> dict[str, Any]:
    """BLIP's decoder: captions run from `bos_token_id` to `sep_token_id`, which is what its `generate` ends at."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": architecture.text_width,
        "intermediate_size": 2 * architecture.text_width,
        "num_hidden_layers": architecture.text_layers,
        "num_attention_heads": architecture.attention_heads,
        "max_position_embeddings": architecture.max_tokens,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "sep_token_id": tokenizer.eos_token_id,
    }


def build_processor(architecture: Architecture) -> Any:
    """Pictures as the image encoder wants them: squeezed to a square of `image_px`, as BLIP does, and normalised."""
    from transformers import BlipImageProcessorPil

    return BlipImageProcessorPil(size={"height": architecture.image_px, "width": architecture.image_px})
