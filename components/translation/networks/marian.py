"""The translation networks: transformers' encoder–decoders, from scratch or from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError
from components.engines.nn import checkpoints
from components.translation.architecture import Architecture


def build(architecture: Architecture, tokenizer: Any) -> Any:
    """A `MarianMTModel` (sinusoidal positions) or `BartForConditionalGeneration` (learned), randomly initialised.

    Vaswani et al. 2017 with ReLU feed-forward layers; embeddings of encoder, decoder and prediction head are tied. The
    decoder starts from the tokenizer's bos. logits: [batch, target length, vocabulary].
    """
    from transformers import BartConfig, BartForConditionalGeneration, MarianConfig, MarianMTModel

    shape = {
        "vocab_size": len(tokenizer),
        "d_model": architecture.d_model,
        "encoder_layers": architecture.encoder_layers,
        "decoder_layers": architecture.decoder_layers,
        "encoder_attention_heads": architecture.attention_heads,
        "decoder_attention_heads": architecture.attention_heads,
        "encoder_ffn_dim": architecture.ffn_dim,
        "decoder_ffn_dim": architecture.ffn_dim,
        "max_position_embeddings": architecture.max_positions,
        "activation_function": "relu",
        "dropout": architecture.dropout,
        "attention_dropout": 0.0,
        "scale_embedding": True,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.bos_token_id,
        "forced_eos_token_id": None,
    }
    if architecture.family == "marian":
        return MarianMTModel(MarianConfig(**shape))
    return BartForConditionalGeneration(BartConfig(**shape))


def load(folder: str | Path) -> Any:
    """An encoder–decoder from a hub id or folder; safetensors only, no code from the checkpoint."""
    from transformers import AutoModelForSeq2SeqLM

    return checkpoints.load_network(AutoModelForSeq2SeqLM, folder, "an encoder–decoder")


def cross_attention(network: Any) -> list[Any]:
    """The decoder's attention modules over the encoder's output (BART's, Marian's and NLLB's name, T5's name)."""
    found = [part for name, part in network.named_modules() if name.endswith((".encoder_attn", ".EncDecAttention"))]
    if not found:
        raise UsageError(
            f"No cross-attention is known of {type(network).__name__}",
            where="translation.pretrain.keep_cross_attention",
            do="set it to true",
        )
    return found


def load_tokenizer(folder: str | Path, architecture: Architecture | None = None) -> Any:
    """A tokenizer from a hub id or folder; languages are set for multilingual checkpoints that know them."""
    languages = {}
    if architecture and architecture.source_language:
        languages = {"src_lang": architecture.source_language, "tgt_lang": architecture.target_language}
    return checkpoints.load_tokenizer(folder, **languages)


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """A folder as transformers' `save_pretrained` writes it (safetensors, tokenizer beside)."""
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
