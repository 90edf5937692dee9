"""Training examples for the reader: questions with the passages that a search finds, labelled relevant or not."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.rag.architecture import Architecture
from components.rag.measures.contexts import Drawing


class RaftData(Drawing):
    """Which examples the reader learns from."""


def raft_data(
    params: RaftData,
    architecture: Architecture,
    documents: Path,
    encoder: Path,
    library: Path,
    tokenizer: Path,
    examples: Path,
    raft_examples: Path,
) -> None:
    """Write shards of examples (prompt, answer, relevant and irrelevant texts); `raft_examples` (JSON) counts them.

    Every test question that can be answered is there with its passage and as many distractors as fit; the others with
    distractors alone. A question whose answer was not read anywhere is left out and counted.
    """
    from components.engines.base.paths import write_json
    from components.engines.index.library import Library
    from components.engines.nn.checkpoints import load_tokenizer
    from components.engines.nn.device import own_device
    from components.engines.shards.manifest import write_manifest
    from components.engines.shards.writer import ShardWriter
    from components.engines.sources.splits import SPLITS
    from components.rag.measures.contexts import Contexts
    from components.rag.measures.questions import load_questions
    from components.rag.networks.encoder import Embedder

    embedder = Embedder.load(encoder, architecture.encoder.max_tokens)
    embedder.network.to(own_device())
    drawn = Contexts(Library(library, embedder), architecture, load_tokenizer(tokenizer), params)
    shards = []
    for split in SPLITS:
        with ShardWriter(examples, split, 2000) as writer:
            writer.write_all(one.to_sample() for one in drawn.of(load_questions(documents, split), split))
        shards += writer.shards
    write_manifest(examples, shards, drawn.funnel)
    write_json(raft_examples, drawn.funnel.as_dict())


if __name__ == "__main__":
    stage.main(raft_data)
