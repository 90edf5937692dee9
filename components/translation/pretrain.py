"""Denoising pretraining: what fine-tuning starts from."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.engines.base import stage
from components.engines.base.errors import UsageError
from components.engines.base.params import Params, Positive
from components.engines.base.stage import StageContext
from components.engines.training.params import Training
from components.translation.architecture import Architecture


class Pretrain(Params):
    """Denoising pretraining on the sentences of both sides, taken singly. `enabled: false` starts fine-tuning from scratch.

    Denoising teaches cross-attention to copy the word at the same place, which is what translation must not do: unless
    `keep_cross_attention`, it is handed on as it was before (random, or as `init_from` has it), beside a pretrained encoder and
    decoder (Rothe, Narayan & Severyn 2020, arXiv:1907.12461).
    """

    enabled: bool = True
    keep_cross_attention: bool = False
    mask_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    max_tokens: Positive = 128
    training: Training


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
    from components.engines.training.curve import write_curve
    from components.translation.fitting import fit_and_save, save
    from components.translation.model import cross_attention

    make_task = partial(denoising, params, architecture, cleaned, tokenizer)
    if params.enabled:
        restored = None if params.keep_cross_attention else cross_attention
        fit_and_save(make_task, params.training, context, pretrained, pretrain_curve, restored=restored)
    else:
        network, text = start(architecture, tokenizer, params.training.seed)
        save(network, text, pretrained)
        write_curve(pretrain_curve, [])


def denoising(params: Pretrain, architecture: Architecture, cleaned: Path, tokenizer: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.translation.denoising import Denoising
    from components.translation.pairs import Pairs

    network, text = start(architecture, tokenizer, params.training.seed)
    if text.mask_token_id is None:
        raise UsageError(
            "This checkpoint's tokenizer has no mask token, so it cannot be pretrained by denoising",
            where=f"translation.architecture.init_from: {architecture.init_from}",
            do="set translation.pretrain.enabled: false to fine-tune it as it is",
        )
    return Denoising(network, text, params, Pairs(cleaned, "train"), Pairs(cleaned, "valid"))


def start(architecture: Architecture, tokenizer: Path, seed: int) -> tuple[Any, Any]:
    """The network, random from `seed` or as `init_from` has it, and its tokenizer."""
    from components.engines.base.seeds import seed_everything
    from components.translation import model as networks

    text = networks.load_tokenizer(tokenizer, architecture)
    seed_everything(seed, "network")
    network = networks.load(architecture.init_from) if architecture.init_from else networks.build(architecture, text)
    return network, text


if __name__ == "__main__":
    stage.main(pretrain)
