"""The encoder-decoder: transformers' Marian from scratch, or any encoder-decoder from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.nn.checkpoints import load_network
from components.SYSTEM.architecture import Architecture


def build(architecture: Architecture, tokenizer: Any) -> Any:
    """A randomly initialised MarianMTModel; ids of both sides -> logits [batch, target length, vocabulary]."""
    from transformers import MarianConfig, MarianMTModel

    width, layers, heads = architecture.width, architecture.layers, architecture.heads
    config = MarianConfig(
        vocab_size=len(tokenizer),
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=2 * width,
        decoder_ffn_dim=2 * width,
        max_position_embeddings=architecture.max_tokens,
        activation_function="relu",
        dropout=0.0,
        scale_embedding=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.bos_token_id,
        forced_eos_token_id=None,
    )
    return MarianMTModel(config)


def load(folder: str | Path) -> Any:
    """An encoder-decoder from a hub id or folder; safetensors only, no code from the checkpoint."""
    from transformers import AutoModelForSeq2SeqLM

    return load_network(AutoModelForSeq2SeqLM, folder, "an encoder-decoder")
