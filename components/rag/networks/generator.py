"""The reader that writes answers: transformers' Llama from scratch, or any decoder-only model from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.nn.checkpoints import load_network
from components.rag.architecture import Generator


def build(params: Generator, tokenizer: Any) -> Any:
    """A randomly initialised LlamaForCausalLM; input_ids [batch, tokens] -> logits [batch, tokens, vocabulary]."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=params.width,
        intermediate_size=3 * params.width,
        num_hidden_layers=params.layers,
        num_attention_heads=params.heads,
        num_key_value_heads=params.heads,
        max_position_embeddings=params.max_tokens,
        tie_word_embeddings=True,  # a copied word is found by the vector it is read as
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def load(folder: str | Path) -> Any:
    """A decoder-only model from a hub id or folder; safetensors only, no code from the checkpoint."""
    from transformers import AutoModelForCausalLM

    return load_network(AutoModelForCausalLM, folder, "a language model")
