"""Alignment by direct preference optimisation: from pairs of answers alone, without a reward model or drawing."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.chat_assistant.architecture import Adapted, Architecture
from components.engines.base import stage
from components.engines.base.stage import StageContext
from components.engines.training.stage import train_stage


class Dpo(Adapted):
    """Training. `beta` is how dear it is to leave the fine-tuned model; `label_smoothing` the share of pairs that are taken to
    be the wrong way round; `chosen_weight` how much the chosen answer's likelihood counts besides (see tasks/dpo.py). Not
    `enabled`, the fine-tuned model is handed on.
    """

    beta: Annotated[float, Field(gt=0)] = 0.1
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.1
    chosen_weight: Annotated[float, Field(ge=0)] = 0.2


def dpo(
    params: Dpo, architecture: Architecture, context: StageContext, cleaned: Path, sft: Path, dpo: Path, dpo_curve: Path
) -> None:
    """Write the model's folder (weights and tokenizer) and its curve (CSV), with the log-probabilities of chosen and rejected."""
    from components.chat_assistant.networks import language_model
    from components.engines.nn.checkpoints import load_tokenizer
    from components.engines.nn.low_rank import adapt, merge

    learnt = train_stage(context, params, partial(preferring, params, architecture, cleaned, sft), dpo_curve)
    network = adapt(language_model.load(sft), params.lora)
    learnt.load(network)
    language_model.save(merge(network), load_tokenizer(sft), dpo)


def preferring(params: Dpo, architecture: Architecture, cleaned: Path, sft: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.chat_assistant.networks import language_model
    from components.chat_assistant.tasks.dpo import DirectPreference
    from components.chat_assistant.tasks.reading import pairs
    from components.engines.language.chat_tokens import ChatTokens
    from components.engines.nn.checkpoints import load_tokenizer
    from components.engines.nn.low_rank import adapt

    words = load_tokenizer(sft)
    tokens = ChatTokens(words, architecture.max_tokens)
    train, valid = (pairs(cleaned, split, tokens) for split in ("train", "valid"))
    return DirectPreference(
        adapt(language_model.load(sft), params.lora),
        language_model.load(sft),
        train,
        valid,
        pad_id=words.pad_token_id,
        beta=params.beta,
        label_smoothing=params.label_smoothing,
        chosen_weight=params.chosen_weight,
    )


if __name__ == "__main__":
    stage.main(dpo)
