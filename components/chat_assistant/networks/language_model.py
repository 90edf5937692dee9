"""The language model: a Llama, GPT-2 or MPT of transformers from scratch, or any decoder-only model from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.chat_assistant.architecture import Architecture
from components.engines.base.errors import UsageError
from components.engines.nn.checkpoints import load_network


def build(architecture: Architecture, tokenizer: Any) -> Any:
    """A randomly initialised network; input_ids [batch, tokens] -> logits [batch, tokens, vocabulary].

    It has positions for twice `max_tokens`, so that a table's rows that no training reaches can be measured.
    """
    import transformers

    shape, positions = architecture, 2 * architecture.max_tokens
    known = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "tie_word_embeddings": True,
    }
    if shape.family == "gpt2":
        size = {"n_embd": shape.width, "n_layer": shape.layers, "n_head": shape.heads, "n_positions": positions}
        undisturbed = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(**known, **size, **undisturbed))
    if shape.family == "mpt":
        size = {"d_model": shape.width, "n_layers": shape.layers, "n_heads": shape.heads, "max_seq_len": positions}
        return transformers.MptForCausalLM(transformers.MptConfig(**known, **size))
    size = {"hidden_size": shape.width, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads}
    # the gate is a third matrix: two thirds of the usual width make as many parameters (Shazeer 2020, arXiv:2002.05202)
    more = {"intermediate_size": 8 * shape.width // 3, "num_key_value_heads": shape.key_heads}
    config = transformers.LlamaConfig(**known, **size, **more, max_position_embeddings=positions)
    return transformers.LlamaForCausalLM(config)


def load(folder: str | Path) -> Any:
    """A decoder-only model from a hub id or folder; safetensors only, no code from the checkpoint."""
    from transformers import AutoModelForCausalLM

    return load_network(AutoModelForCausalLM, folder, "a language model")


def adapt(network: Any, tokenizer: Any, max_tokens: int, where: str) -> Any:
    """A checkpoint's network with rows for the tokens that the tokenizer has besides its own.

    Raises UsageError for a network that reads less than `max_tokens` at once.
    """
    positions = getattr(network.config, "max_position_embeddings", None)
    if positions is not None and positions < max_tokens:
        raise UsageError(
            f"The checkpoint has {positions} positions, fewer than architecture.max_tokens {max_tokens}",
            where=where,
            do=f"set chat_assistant.architecture.max_tokens to {positions} or less",
        )
    if len(tokenizer) > network.get_input_embeddings().num_embeddings:
        network.resize_token_embeddings(len(tokenizer))
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(network.config, name, getattr(tokenizer, name))
        setattr(network.generation_config, name, getattr(tokenizer, name))
    return network


def save(network: Any, tokenizer: Any, folder: Path) -> None:
    """Weights, config and tokenizer, as transformers loads them."""
    network.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
