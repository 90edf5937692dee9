"""The two encoders from scratch: transformers' CLIPModel and its image processor (loading: engines/scoring/embedder.py)."""

from __future__ import annotations

from typing import Any

from components.clip.architecture import Architecture
from components.engines.captioned.contrastive import drawn
from components.engines.scoring.embedder import pooling_at_the_end


def build(architecture: Architecture, tokenizer: Any) -> Any:
    """A randomly initialised CLIPModel (Radford et al. 2021): ViT and causal text transformer, projected to one space.

    pixel_values [batch, 3, image_px, image_px], input_ids [batch, tokens] -> embeddings [batch, embedding_dim].
    """
    from transformers import CLIPConfig

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
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=architecture.embedding_dim)
    return pooling_at_the_end(drawn(config), tokenizer, "clip.tokenizer")


def build_processor(architecture: Architecture) -> Any:
    """Pictures as the image encoder wants them: the shorter side and a square from the middle at `image_px`, normalised."""
    from transformers import CLIPImageProcessorPil

    px = architecture.image_px
    return CLIPImageProcessorPil(size={"shortest_edge": px}, crop_size={"height": px, "width": px})
