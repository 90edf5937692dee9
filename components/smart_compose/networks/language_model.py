"""The language model: a GPT-2, XGLM or Llama of transformers from scratch, or any decoder-only model from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError
from components.engines.nn.checkpoints import load_network
from components.smart_compose.architecture import Architecture


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
    if shape.family == "xglm":
        size = {"d_model": shape.width, "num_layers": shape.layers, "attention_heads": shape.heads}
        more = {"ffn_dim": 4 * shape.width, "activation_function": "relu", "max_position_embeddings": positions}
        undisturbed = {"dropout": 0.0, "attention_dropout": 0.0}
        return transformers.XGLMForCausalLM(transformers.XGLMConfig(**known, **size, **more, **undisturbed))
    size = {"hidden_size": shape.width, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads}
    # the gate is a third matrix: two thirds of the usual width make as many parameters (Shazeer 2020, arXiv:2002.05202)
    more = {"intermediate_size": 8 * shape.width // 3, "max_position_embeddings": positions}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**known, **size, **more))


def load(folder: str | Path) -> Any:
    """A decoder-only model from a hub id or folder; safetensors only, no code from the checkpoint."""
    from transformers import AutoModelForCausalLM

    return load_network(AutoModelForCausalLM, folder, "a language model")


def adapt(network: Any, tokenizer: Any, max_tokens: int, trained: bool, where: str) -> Any:
    """A checkpoint's network with rows for the tokens that the tokenizer has besides its own; the new ones are to be trained.

    Raises UsageError where nothing would train them, and for a network that reads less than `max_tokens` at once.
    """
    lacking = len(tokenizer) - network.get_input_embeddings().num_embeddings
    if lacking > 0 and not trained:
        raise UsageError(
            f"The checkpoint has no row for {lacking} tokens that this system writes its mails with",
            where=where,
            do="set smart_compose.train.enabled: true, or give a checkpoint that this system trained",
        )
    positions = getattr(network.config, "max_position_embeddings", None)
    if positions is not None and positions < max_tokens:
        raise UsageError(
            f"The checkpoint has {positions} positions, fewer than architecture.max_tokens {max_tokens}",
            where=where,
            do=f"set smart_compose.architecture.max_tokens to {positions} or less",
        )
    if lacking > 0:
        network.resize_token_embeddings(len(tokenizer))
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(network.config, name, getattr(tokenizer, name))
    return network
