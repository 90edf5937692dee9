"""Supervised fine-tuning on conversations: what the assistant says is learnt, and nothing that it is told."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from components.chat_assistant.architecture import Adapted, Architecture
from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.engines.training.stage import train_stage


class Sft(Adapted):
    """Training. Not `enabled`, the pretrained model is handed on: for checkpoints that follow instructions already."""


def sft(
    params: Sft,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    pretrained: Path,
    sft: Path,
    sft_curve: Path,
) -> None:
    """Write the model's folder (weights and tokenizer) and its loss curve (CSV)."""
    from components.chat_assistant.networks import language_model
    from components.engines.nn.checkpoints import load_tokenizer
    from components.engines.nn.low_rank import adapt, merge

    learnt = train_stage(context, params, partial(instructing, params, architecture, cleaned, pretrained), sft_curve)
    network = adapt(language_model.load(pretrained), params.lora)
    learnt.load(network)
    language_model.save(merge(network), load_tokenizer(pretrained), sft)


def instructing(params: Sft, architecture: Architecture, cleaned: Path, pretrained: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.chat_assistant.networks import language_model
    from components.chat_assistant.tasks.reading import conversations
    from components.engines.language.causal import CausalLM
    from components.engines.language.chat_tokens import ChatTokens
    from components.engines.nn.checkpoints import load_tokenizer
    from components.engines.nn.low_rank import adapt

    words = load_tokenizer(pretrained)
    tokens = ChatTokens(words, architecture.max_tokens)
    train, valid = (conversations(cleaned, split, tokens) for split in ("train", "valid"))
    length = architecture.max_tokens if params.training.layout.pipeline > 1 else None  # stages expect one shape
    network = adapt(language_model.load(pretrained), params.lora)
    return CausalLM(network, train, valid, pad_id=words.pad_token_id, length=length)


if __name__ == "__main__":
    stage.main(sft)
