"""Training of the text embedder on questions with what answers them, and on sentences with the chunks they stand in."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.errors import UsageError
from components.engines.base.stage import StageContext
from components.engines.training.stage import Trained, train_stage
from components.rag.architecture import Architecture


class TrainEncoder(Trained):
    """Contrastive training: `training.batch_size` is also how many texts compete. Not `enabled`, the checkpoint of
    `architecture.encoder.init_from` is used as it is."""


def train_encoder(
    params: TrainEncoder,
    architecture: Architecture,
    context: StageContext,
    documents: Path,
    chunks: Path,
    tokenizer: Path,
    encoder: Path,
    encoder_curve: Path,
) -> None:
    """Write the embedder's folder (weights and tokenizer) and its loss curve (CSV)."""
    if not params.enabled and architecture.encoder.init_from is None:
        raise UsageError(
            "Nothing to use: rag.train_encoder.enabled is false and rag.architecture.encoder.init_from is null",
            where="params.yaml",
            do="name a checkpoint there, or train",
        )
    task = partial(matching, params, architecture, documents, chunks, tokenizer)
    learnt = train_stage(context, params, task, encoder_curve)
    embedder = start(architecture, tokenizer, params.training.seed)
    learnt.load(embedder.network)
    embedder.network.save_pretrained(encoder, safe_serialization=True)
    embedder.tokenizer.save_pretrained(encoder)


def matching(params: TrainEncoder, architecture: Architecture, documents: Path, chunks: Path, tokenizer: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.rag.measures.questions import load_chunks, load_questions, pairs_of
    from components.rag.tasks.matching import Matching

    found, limit = load_chunks(chunks), architecture.prompting.max_passage_chars
    train = pairs_of(found, load_questions(documents, "train"), limit)
    valid = pairs_of(found, load_questions(documents, "valid"), limit)
    return Matching(start(architecture, tokenizer, params.training.seed), train, valid or train[:200])


def start(architecture: Architecture, tokenizer: Path, seed: int) -> Any:
    """The embedder, random from `seed` or as `init_from` has it."""
    from components.engines.base.seeds import seed_everything
    from components.engines.nn.checkpoints import load_tokenizer
    from components.rag.networks import encoder as networks

    shape = architecture.encoder
    seed_everything(seed, "encoder")
    if shape.init_from:
        return networks.Embedder(networks.load(shape.init_from), load_tokenizer(shape.init_from), shape.max_tokens)
    words = load_tokenizer(tokenizer)
    return networks.Embedder(networks.build(shape, words), words, shape.max_tokens)


if __name__ == "__main__":
    stage.main(train_encoder)
