"""The captioner from scratch: a ResNet before BLIP's decoder (loading: engines/generation/captioner.py)."""

from __future__ import annotations

from typing import Any

from components.engines.generation.captioner import ImageCaptioner
from components.SYSTEM.architecture import Architecture


def build(architecture: Architecture, tokenizer: Any) -> ImageCaptioner:
    """Randomly initialised; pixel_values [batch, 3, px, px], input_ids [batch, tokens] -> logits [batch, tokens, vocabulary]."""
    from transformers import BlipImageProcessorPil

    from components.engines.nn.grid_captioner import GridCaptioner, GridCaptionerConfig

    width = architecture.width
    vision = {
        "embedding_size": width // 2,
        "hidden_sizes": [width // 2, width],
        "depths": [architecture.layers] * 2,
        "layer_type": "basic",
    }
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": architecture.layers,
        "num_attention_heads": architecture.heads,
        "max_position_embeddings": architecture.max_tokens,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "sep_token_id": tokenizer.eos_token_id,
    }
    config = GridCaptionerConfig(vision_config=vision, text_config=text, image_size=architecture.image_px)
    side = {"height": architecture.image_px, "width": architecture.image_px}
    return ImageCaptioner(GridCaptioner(config), tokenizer, BlipImageProcessorPil(size=side))
