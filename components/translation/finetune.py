"""Supervised training on sentence pairs, from the pretrained network."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.params import Fraction, Positive
from components.engines.base.stage import StageContext
from components.engines.training.stage import Trained, train_stage
from components.translation.architecture import Architecture


class Finetune(Trained):
    """Supervised training on pairs. `num_pairs` limits them (low-resource comparisons)."""

    num_pairs: Positive | None = None
    label_smoothing: Fraction = 0.0
    max_tokens: Positive = 128


def finetune(
    params: Finetune,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    pretrained: Path,
    model: Path,
    finetune_curve: Path,
) -> None:
    """Write the translation model's folder (weights and tokenizer) and its loss curve."""
    from components.translation.networks.marian import save

    make_task = partial(translating, params, architecture, cleaned, pretrained)
    learnt = train_stage(context, params, make_task, finetune_curve)
    task = make_task()
    learnt.load(task.model)
    save(task.model, task.tokenizer, model)


def translating(params: Finetune, architecture: Architecture, cleaned: Path, pretrained: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.language.paired import Translating
    from components.engines.language.pairs import Pairs
    from components.translation.networks import marian as networks

    return Translating(
        networks.load(pretrained),
        networks.load_tokenizer(pretrained, architecture),
        Pairs(cleaned, "train", params.num_pairs),
        Pairs(cleaned, "valid"),
        max_tokens=params.max_tokens,
        label_smoothing=params.label_smoothing,
    )


if __name__ == "__main__":
    stage.main(finetune)
