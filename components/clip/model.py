"""The two encoders from scratch: transformers' CLIPModel and its image processor (loading: engines/scoring/embedder.py)."""

from __future__ import annotations

from typing import Any

import torch

from components.clip.architecture import Architecture
from components.engines.nn.positions import fixed_table
from components.engines.scoring.embedder import pooling_at_the_end

_POSITION_SCALE = 0.3  # about the scale of the patches' content at the start


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
    _place_patches(network.vision_model.embeddings, architecture)
    return pooling_at_the_end(network, tokenizer, "clip.tokenizer")


def _place_patches(embeddings: Any, architecture: Architecture) -> None:
    """Start the learnt positions of the patches as sines and cosines of row and column (as MAE has them, arXiv:2111.06377).

    The class's own start, noise of .02, is a fifteenth of what the patches' content weighs: some seeds then learn no position
    at all within a short training (AUC of captions wrong in position alone .57 instead of 1.00).
    """
    side = architecture.image_px // architecture.patch_px
    table = fixed_table(side, side, architecture.vision_width, per_axis=True)
    with torch.no_grad():
        embeddings.position_embedding.weight[1:] = _POSITION_SCALE * table  # row 0 is the class token's


def build_processor(architecture: Architecture) -> Any:
    """Pictures as the image encoder wants them: the shorter side and a square from the middle at `image_px`, normalised."""
    from transformers import CLIPImageProcessorPil

    px = architecture.image_px
    return CLIPImageProcessorPil(size={"shortest_edge": px}, crop_size={"height": px, "width": px})
