"""Retrieval-augmented fine-tuning of the reader: learn from relevant passages, be penalised for irrelevant ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.engines.base import stage
from components.engines.base.errors import UsageError
from components.engines.base.stage import StageContext
from components.engines.training.stage import Trained, train_stage
from components.rag.architecture import Architecture


class Raft(Trained):
    """Training. `penalty` weighs the term on irrelevant passages (0: none). Not `enabled`, the checkpoint of
    `architecture.generator.init_from` is used as it is."""

    penalty: Annotated[float, Field(ge=0)] = 0.3


def raft(
    params: Raft,
    architecture: Architecture,
    context: StageContext,
    examples: Path,
    tokenizer: Path,
    generator: Path,
    raft_curve: Path,
) -> None:
    """Write the reader's folder (weights and tokenizer) and its loss curve (CSV)."""
    from components.engines.nn.checkpoints import load_tokenizer

    if not params.enabled and architecture.generator.init_from is None:
        raise UsageError(
            "Nothing to use: rag.raft.enabled is false and rag.architecture.generator.init_from is null",
            where="params.yaml",
            do="name a checkpoint there, or train",
        )
    learnt = train_stage(context, params, partial(reading, params, architecture, examples, tokenizer), raft_curve)
    words = load_tokenizer(tokenizer)
    network = start(architecture, words, params.training.seed)
    learnt.load(network)
    network.save_pretrained(generator, safe_serialization=True)
    words.save_pretrained(generator)


def reading(params: Raft, architecture: Architecture, examples: Path, tokenizer: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.language.causal import Encoded
    from components.engines.language.records import Records
    from components.engines.nn.checkpoints import load_tokenizer
    from components.rag.tasks.raft import Raft as Task
    from components.rag.tasks.raft import encode

    words = load_tokenizer(tokenizer)
    network = start(architecture, words, params.training.seed)
    train, valid = (
        Encoded(Records(examples, split), partial(encode, words, architecture.generator.max_tokens))
        for split in ("train", "valid")
    )
    return Task(network, train, valid, pad_id=words.pad_token_id, penalty=params.penalty)


def start(architecture: Architecture, tokenizer: Any, seed: int) -> Any:
    """The network, random from `seed` or as `init_from` has it."""
    from components.engines.base.seeds import seed_everything
    from components.rag.networks import generator as networks

    seed_everything(seed, "generator")
    shape = architecture.generator
    return networks.load(shape.init_from) if shape.init_from else networks.build(shape, tokenizer)


if __name__ == "__main__":
    stage.main(raft)
