"""The language model: transformers' GPT-2 from scratch, or any decoder-only model from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.nn.checkpoints import load_network
from components.SYSTEM.architecture import Architecture


def build(architecture: Architecture, tokenizer: Any) -> Any:
    """A randomly initialised GPT2LMHeadModel; input_ids [batch, tokens] -> logits [batch, tokens, vocabulary]."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=architecture.width,
        n_layer=architecture.layers,
        n_head=architecture.heads,
        n_positions=architecture.max_tokens,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return GPT2LMHeadModel(config)


def load(folder: str | Path) -> Any:
    """A decoder-only model from a hub id or folder; safetensors only, no code from the checkpoint."""
    from transformers import AutoModelForCausalLM

    return load_network(AutoModelForCausalLM, folder, "a language model")
