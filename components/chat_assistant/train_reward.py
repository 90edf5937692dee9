"""The reward model: what people prefer, learnt from pairs of answers with how much better one of them is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.chat_assistant.architecture import Adapted, Architecture
from components.engines.base import stage
from components.engines.base.errors import UsageError
from components.engines.base.stage import StageContext
from components.engines.training.stage import train_stage


class TrainReward(Adapted):
    """Training. `margin_scale` is how far apart, in the reward's unit, answers shall be that a margin of 1 parts."""

    margin_scale: Annotated[float, Field(ge=0)] = 0.5


def train_reward(
    params: TrainReward,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    sft: Path,
    reward: Path,
    reward_curve: Path,
) -> None:
    """Write the reward model's folder (a sequence classifier with one label, and the tokenizer) and its loss curve (CSV)."""
    from components.engines.nn.checkpoints import load_tokenizer
    from components.engines.nn.low_rank import merge

    if not params.enabled:
        raise UsageError(
            "Nothing can be aligned without a reward model",
            where="params.yaml",
            do="set chat_assistant.train_reward.enabled: true",
        )
    learnt = train_stage(context, params, partial(rewarding, params, architecture, cleaned, sft), reward_curve)
    network = start(params, sft)
    learnt.load(network)
    merge(network).save_pretrained(reward, safe_serialization=True)
    load_tokenizer(sft).save_pretrained(reward)


def rewarding(params: TrainReward, architecture: Architecture, cleaned: Path, sft: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.chat_assistant.tasks.reading import pairs
    from components.chat_assistant.tasks.rewarding import Rewarding
    from components.engines.language.chat_tokens import ChatTokens
    from components.engines.nn.checkpoints import load_tokenizer

    words = load_tokenizer(sft)
    tokens = ChatTokens(words, architecture.max_tokens)
    train, valid = (pairs(cleaned, split, tokens) for split in ("train", "valid"))
    return Rewarding(start(params, sft), train, valid, pad_id=words.pad_token_id, margin_scale=params.margin_scale)


def start(params: TrainReward, sft: Path) -> Any:
    """The fine-tuned model's states under a new head."""
    from components.chat_assistant.networks import language_model, scorer
    from components.engines.base.seeds import seed_everything
    from components.engines.nn.low_rank import adapt

    base = language_model.load(sft)
    seed_everything(params.training.seed, "network")
    return adapt(scorer.on_top_of(base, ["reward"]), params.lora)


if __name__ == "__main__":
    stage.main(train_reward)
