"""The reader that writes answers: transformers' Llama from scratch, or any decoder-only model from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.nn.checkpoints import load_network
from components.rag.architecture import Generator

_SHARPNESS = 1.5  # of the first match: heads of 16 look at a word's equal some 400 times as much as at another
_MATCHING = 0.75  # of the heads
_THETA = 1_000_000.0  # positions turn little of what a head matches by


def build(params: Generator, tokenizer: Any) -> Any:
    """A LlamaForCausalLM from scratch; input_ids [batch, tokens] -> logits [batch, tokens, vocabulary].

    It starts from weights as large as the width bears, and most of its heads by matching and copying: see `_begin_by_matching`.
    """
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
        initializer_range=params.width**-0.5,
        rope_parameters={"rope_type": "default", "rope_theta": _THETA},
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    network = LlamaForCausalLM(config)
    _begin_by_matching(network)
    return network


def _begin_by_matching(network: Any) -> None:
    """Let heads look for what is like the word they stand at, and hand it on: queries equal to keys, outputs inverse to values.

    Trockman & Kolter 2023 ("Mimetic initialization of self-attention layers", arXiv 2305.09828). Reading is matching and copying,
    and a small network that starts at random needs most of its training to come upon that.
    """
    import torch

    config = network.config
    heads = round(_MATCHING * config.num_attention_heads)
    rows = config.hidden_size // config.num_attention_heads * heads
    with torch.no_grad():
        for layer in network.model.layers:
            looks, copies = (torch.linalg.qr(torch.randn(config.hidden_size, config.hidden_size))[0] for _ in range(2))
            attention = layer.self_attn
            attention.k_proj.weight[:rows] = looks[:, :rows].T
            attention.q_proj.weight[:rows] = _SHARPNESS * looks[:, :rows].T
            attention.v_proj.weight[:rows] = copies[:, :rows].T
            attention.o_proj.weight[:, :rows] = copies[:, :rows]


def load(folder: str | Path) -> Any:
    """A decoder-only model from a hub id or folder; safetensors only, no code from the checkpoint."""
    from transformers import AutoModelForCausalLM

    return load_network(AutoModelForCausalLM, folder, "a language model")
