"""Denoising pretraining: what fine-tuning starts from."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.engines.base import stage
from components.engines.base.errors import UsageError
from components.engines.base.params import Positive
from components.engines.base.stage import StageContext
from components.engines.training.stage import Trained, train_stage
from components.translation.architecture import Architecture


class Pretrain(Trained):
    """Denoising pretraining on the sentences of both sides, taken singly. `enabled: false` starts fine-tuning from scratch.

    Denoising teaches cross-attention to copy the word at the same place, which is what translation must not do: unless
    `keep_cross_attention`, it is handed on as it was before (random, or as `init_from` has it), beside a pretrained encoder and
    decoder (Rothe, Narayan & Severyn 2020, arXiv:1907.12461).
    """

    keep_cross_attention: bool = False
    mask_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    max_tokens: Positive = 128


def pretrain(
    params: Pretrain,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    tokenizer: Path,
    pretrained: Path,
    pretrain_curve: Path,
) -> None:
    """Write the folder that fine-tuning starts from: pretrained here, or a checkpoint's or random weights as they are."""
    from copy import deepcopy

    from components.translation.networks.marian import cross_attention, save

    make_task = partial(denoising, params, architecture, cleaned, tokenizer)
    learnt = train_stage(context, params, make_task, pretrain_curve)
    network, text = start(architecture, tokenizer, params.training.seed)
    kept = (
        []
        if params.keep_cross_attention
        else [(part, deepcopy(part.state_dict())) for part in cross_attention(network)]
    )
    learnt.load(network)
    for part, state in kept:
        part.load_state_dict(state)
    save(network, text, pretrained)


def denoising(params: Pretrain, architecture: Architecture, cleaned: Path, tokenizer: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.language.pairs import Pairs
    from components.translation.tasks.denoising import Denoising

    network, text = start(architecture, tokenizer, params.training.seed)
    if text.mask_token_id is None:
        raise UsageError(
            "This checkpoint's tokenizer has no mask token, so it cannot be pretrained by denoising",
            where=f"translation.architecture.init_from: {architecture.init_from}",
            do="set translation.pretrain.enabled: false to fine-tune it as it is",
        )
    return Denoising(
        network,
        text,
        Pairs(cleaned, "train"),
        Pairs(cleaned, "valid"),
        mask_fraction=params.mask_fraction,
        max_tokens=params.max_tokens,
        seed=params.training.seed,
    )


def start(architecture: Architecture, tokenizer: Path, seed: int) -> tuple[Any, Any]:
    """The network, random from `seed` or as `init_from` has it, and its tokenizer."""
    from components.engines.base.seeds import seed_everything
    from components.translation.networks import marian as networks

    text = networks.load_tokenizer(tokenizer, architecture)
    seed_everything(seed, "network")
    network = networks.load(architecture.init_from) if architecture.init_from else networks.build(architecture, text)
    return network, text


if __name__ == "__main__":
    stage.main(pretrain)
