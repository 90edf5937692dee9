"""The safety classifier: requests and answers by category of harm, with harmless ones that look like them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.chat_assistant.architecture import Adapted, Architecture
from components.engines.base import stage
from components.engines.base.errors import UsageError
from components.engines.base.params import Positive
from components.engines.base.stage import StageContext
from components.engines.training.stage import train_stage

HARMLESS = "harmless"


class TrainSafety(Adapted):
    """Training on the categories that the requests are labelled with, and on `num_ordinary` conversations, which are harmless.

    `noise` is the share of tokens that training replaces by others at random.
    """

    num_ordinary: Positive = 800
    noise: Annotated[float, Field(ge=0, lt=1)] = 0.1


def train_safety(
    params: TrainSafety,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    pretrained: Path,
    safety: Path,
    safety_curve: Path,
) -> None:
    """Write the classifier's folder (a sequence classifier with a label a category, and the tokenizer) and its loss curve
    (CSV)."""
    from components.engines.nn.checkpoints import load_tokenizer
    from components.engines.nn.low_rank import merge

    if not params.enabled:
        raise UsageError(
            "Nothing is served without a safety classifier",
            where="params.yaml",
            do="set chat_assistant.train_safety.enabled: true",
        )
    learnt = train_stage(context, params, partial(warning, params, architecture, cleaned, pretrained), safety_curve)
    network = start(params, pretrained, labels_of(cleaned))
    learnt.load(network)
    merge(network).save_pretrained(safety, safe_serialization=True)
    load_tokenizer(pretrained).save_pretrained(safety)


def warning(params: TrainSafety, architecture: Architecture, cleaned: Path, pretrained: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.chat_assistant.tasks.harm import Harm, Noise
    from components.chat_assistant.tasks.reading import ordinary, requests
    from components.engines.language.chat_tokens import ChatTokens
    from components.engines.nn.checkpoints import load_tokenizer

    words, labels = load_tokenizer(pretrained), labels_of(cleaned)
    tokens = ChatTokens(words, architecture.max_tokens)
    train, valid = (
        [(ids, labels.index(category)) for ids, category, _ in requests(cleaned, split, tokens)]
        for split in ("train", "valid")
    )
    train += [(ids, 0) for ids in ordinary(cleaned, "train", tokens, params.num_ordinary)]
    plain = sorted(set(range(len(words))) - set(words.all_special_ids))
    noise = Noise(plain, params.noise, params.training.seed) if params.noise else None
    return Harm(start(params, pretrained, labels), train, valid, pad_id=words.pad_token_id, noise=noise)


def labels_of(cleaned: Path) -> list[str]:
    """The categories of the training requests, `harmless` first."""
    from components.engines.language.records import Records

    found = {str(one.meta["category"]) for one in Records(cleaned / "requests", "train")}
    if HARMLESS not in found or len(found) < 2:
        raise UsageError(
            f"Requests are needed of the category {HARMLESS} and of at least one other, not only {', '.join(sorted(found))}",
            where="chat_assistant.ingest.requests",
            do=f"call what may be answered {HARMLESS}",
        )
    return [HARMLESS, *sorted(found - {HARMLESS})]


def start(params: TrainSafety, pretrained: Path, labels: list[str]) -> Any:
    """The pretrained model's states under a new head."""
    from components.chat_assistant.networks import language_model, scorer
    from components.engines.base.seeds import seed_everything
    from components.engines.nn.low_rank import adapt

    base = language_model.load(pretrained)
    seed_everything(params.training.seed, "network")
    return adapt(scorer.on_top_of(base, labels), params.lora)


if __name__ == "__main__":
    stage.main(train_safety)
