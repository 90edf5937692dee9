"""Training on texts, from scratch or from a checkpoint."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.engines.training.stage import Trained, require_something, train_stage
from components.SYSTEM.architecture import Architecture


class Train(Trained):
    """Training. Not `enabled`, the checkpoint of `architecture.init_from` is used as it is."""


def train(
    params: Train,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    tokenizer: Path,
    model: Path,
    train_curve: Path,
) -> None:
    """Write the model's folder (weights and tokenizer) and its loss curve (CSV)."""
    from components.engines.nn.checkpoints import load_tokenizer

    require_something(context, params, architecture.init_from)
    learnt = train_stage(context, params, partial(modelling, params, architecture, cleaned, tokenizer), train_curve)
    words = load_tokenizer(tokenizer)
    network = start(architecture, words, params.training.seed)
    learnt.load(network)
    network.save_pretrained(model, safe_serialization=True)
    words.save_pretrained(model)


def modelling(params: Train, architecture: Architecture, cleaned: Path, tokenizer: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.language.causal import CausalLM
    from components.engines.nn.checkpoints import load_tokenizer
    from components.SYSTEM.measures.trial import encoded

    words = load_tokenizer(tokenizer)
    network = start(architecture, words, params.training.seed)
    train, valid = (encoded(cleaned, split, words, architecture.max_tokens) for split in ("train", "valid"))
    length = architecture.max_tokens if params.training.layout.pipeline > 1 else None  # stages expect one shape
    return CausalLM(network, train, valid, pad_id=words.pad_token_id, length=length)


def start(architecture: Architecture, tokenizer: Any, seed: int) -> Any:
    """The network, random from `seed` or as `init_from` has it."""
    from components.engines.base.seeds import seed_everything
    from components.SYSTEM.networks import gpt

    seed_everything(seed, "network")
    return gpt.load(architecture.init_from) if architecture.init_from else gpt.build(architecture, tokenizer)


if __name__ == "__main__":
    stage.main(train)
