"""Pretraining on texts, from scratch or from a checkpoint: every token of a document is foretold from those before it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from components.chat_assistant.architecture import Adapted, Architecture
from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.engines.training.stage import require_something, train_stage


class Pretrain(Adapted):
    """Training on rows of `architecture.max_tokens` tokens. Not `enabled`, the checkpoint of `init_from` is used as it is."""


def pretrain(
    params: Pretrain,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    tokenizer: Path,
    pretrained: Path,
    pretrain_curve: Path,
) -> None:
    """Write the model's folder (weights and tokenizer) and its loss curve (CSV)."""
    from components.chat_assistant.networks import language_model
    from components.engines.nn.checkpoints import load_tokenizer
    from components.engines.nn.low_rank import adapt, merge

    require_something(context, params, architecture.init_from)
    learnt = train_stage(context, params, partial(packing, params, architecture, cleaned, tokenizer), pretrain_curve)
    words = load_tokenizer(tokenizer)
    network = adapt(start(params, architecture, words), params.lora)
    learnt.load(network)
    language_model.save(merge(network), words, pretrained)


def packing(params: Pretrain, architecture: Architecture, cleaned: Path, tokenizer: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.chat_assistant.tasks.reading import texts
    from components.engines.language.packing import PackedLM, pack
    from components.engines.nn.checkpoints import load_tokenizer
    from components.engines.nn.low_rank import adapt

    words, length = load_tokenizer(tokenizer), architecture.max_tokens
    train, valid = (pack(texts(cleaned, split, words), length) for split in ("train", "valid"))
    network = adapt(start(params, architecture, words), params.lora)
    return PackedLM(network, train, valid, pad_id=words.pad_token_id, length=length)


def start(params: Pretrain, architecture: Architecture, tokenizer: Any) -> Any:
    """The network, random from the seed or as `init_from` has it."""
    from components.chat_assistant.networks import language_model
    from components.engines.base.seeds import seed_everything

    seed_everything(params.training.seed, "network")
    if not architecture.init_from:
        return language_model.build(architecture, tokenizer)
    network = language_model.load(architecture.init_from)
    return language_model.adapt(network, tokenizer, architecture.max_tokens, architecture.init_from)


if __name__ == "__main__":
    stage.main(pretrain)
