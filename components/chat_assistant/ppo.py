"""Alignment by proximal policy optimisation: the model answers, the reward model judges, and the policy moves a little."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.chat_assistant.architecture import Adapted, Answering, Architecture
from components.engines.base import stage
from components.engines.base.params import Fraction, Positive
from components.engines.base.stage import StageContext
from components.engines.training.stage import train_stage


class Ppo(Adapted):
    """Training; a step draws `training.batch_size` answers and learns from them `epochs` times.

    The KL from the fine-tuned model costs `kl_coefficient` a nat at first; the price adapts over about `kl_horizon` answers so
    that an answer's KL stays near `kl_target`. Scores of the curve are measured on `num_measured` validation questions. Not
    `enabled`, the fine-tuned model is handed on.
    """

    epochs: Positive = 3
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    value_weight: Annotated[float, Field(ge=0)] = 0.1
    value_clip: Annotated[float, Field(gt=0)] = 0.4
    discount: Fraction = 1.0
    decay: Fraction = 0.95
    kl_coefficient: Annotated[float, Field(gt=0)] = 0.2
    kl_target: Annotated[float, Field(gt=0)] = 1.0
    kl_horizon: Annotated[float, Field(gt=0)] = 5_000
    temperature: Annotated[float, Field(gt=0)] = 1.0
    num_measured: Positive = 128


def ppo(
    params: Ppo,
    architecture: Architecture,
    answering: Answering,
    context: StageContext,
    cleaned: Path,
    sft: Path,
    reward: Path,
    ppo: Path,
    ppo_curve: Path,
) -> None:
    """Write the model's folder (weights and tokenizer) and its curve (CSV): learned and gold reward, KL, entropy over steps."""
    from components.chat_assistant.networks import language_model
    from components.engines.nn.checkpoints import load_tokenizer
    from components.engines.nn.low_rank import adapt, merge

    make = partial(reinforcing, params, architecture, answering, cleaned, sft, reward)
    learnt = train_stage(context, params, make, ppo_curve)
    network = adapt(language_model.load(sft), params.lora)
    learnt.load(network)
    language_model.save(merge(network), load_tokenizer(sft), ppo)


def reinforcing(
    params: Ppo, architecture: Architecture, answering: Answering, cleaned: Path, sft: Path, reward: Path
) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.chat_assistant.measures.rewards import Judge
    from components.chat_assistant.networks import language_model, scorer
    from components.chat_assistant.tasks.ppo import PPO, Settings
    from components.chat_assistant.tasks.reading import first, prompts
    from components.engines.generation.decoding import Decoding
    from components.engines.language.chat_tokens import ChatTokens
    from components.engines.nn.checkpoints import load_tokenizer
    from components.engines.nn.low_rank import adapt

    words, limit = load_tokenizer(sft), answering.decoding.max_new_tokens
    tokens = ChatTokens(words, architecture.max_tokens)
    train, valid = (prompts(cleaned, split, tokens, limit) for split in ("train", "valid"))
    judge_model, reference = scorer.load(reward), language_model.load(sft)
    settings = Settings(
        **params.model_dump(exclude={"enabled", "training", "lora", "num_measured"}),
        max_new_tokens=limit,
        seed=params.training.seed,
    )
    drawing = Decoding(strategy="sample", temperature=params.temperature, max_new_tokens=limit)
    judge = Judge(words, judge_model, reference, first(valid, params.num_measured), drawing, params.training.seed)
    policy = adapt(language_model.load(sft), params.lora)
    return PPO(policy, reference, judge_model, train, judge.figures, settings)


if __name__ == "__main__":
    stage.main(ppo)
