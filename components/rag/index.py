"""The searchable library: chunks, vectors and pictures of pages, a file per document; only what changed is embedded anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.engines.base import stage
from components.engines.base.params import Params
from components.engines.base.stage import StageContext
from components.engines.index.vectors import VectorParams
from components.rag.architecture import Architecture

if TYPE_CHECKING:
    from components.engines.documents.files import Entry


class Index(Params):
    """How vectors are searched. `pictures`: whether pages' pictures go along, for citations to open."""

    vectors: VectorParams = VectorParams()
    pictures: bool = True


def index(
    params: Index,
    architecture: Architecture,
    context: StageContext,
    documents: Path,
    parsed: Path,
    chunks: Path,
    encoder: Path,
    library: Path,
    indexing: Path,
) -> None:
    """Write the library's folder; `indexing` (JSON) says how many documents and chunks it holds, and how much each search counts
    in the fused one: as the validation questions are answered best.

    What was embedded is kept beside the pipeline: another run with the same encoder embeds changed documents only.
    """
    from components.engines.base.paths import digest_path, digest_value, read_jsonl, write_json
    from components.engines.documents.chunking import Chunk
    from components.engines.documents.files import Entry
    from components.engines.documents.parsing import pages_of
    from components.engines.index.library import LIBRARY, Library, copy_library, sync, tune
    from components.engines.nn.device import own_device
    from components.rag.measures.questions import gold_chunks, load_chunks, load_questions
    from components.rag.networks.encoder import Embedder

    embedder = Embedder.load(encoder, architecture.encoder.max_tokens)
    embedder.network.to(own_device())
    entries = [Entry.from_dict(row) for row in read_jsonl(documents / "documents.jsonl")]

    def made(entry: Entry) -> tuple[list[Chunk], dict[int, bytes]]:
        found = [Chunk.from_dict(row) for row in read_jsonl(chunks / f"{entry.id}.jsonl")]
        pages = pages_of(parsed, entry.id) if params.pictures else []
        return found, {page.number: picture for page, picture in pages if picture}

    kept = context.root / ".work" / f"{context.name}-library"
    made_by = digest_value([digest_path(encoder), architecture.encoder.max_tokens, params.pictures])
    sync(kept, [_as_chunked(entry, chunks) for entry in entries], made, embedder, params.vectors, made_by)
    copy_library(kept, library)
    told = {entry.id: entry.as_dict() for entry in sorted(entries, key=lambda one: one.id)}
    write_json(library / LIBRARY, {"made_by": made_by, "vectors": params.vectors.model_dump(), "documents": told})
    every = load_chunks(library / "chunks")
    asked = ((one, gold_chunks(every, one)) for one in load_questions(documents, "valid"))
    weights = tune(
        Library(library, embedder), [(one["question"], one.get("groups", ()), gold) for one, gold in asked if gold]
    )
    write_json(indexing, {"documents": len(entries), "chunks": len(every), "weights": weights})


def _as_chunked(entry: Entry, chunks: Path) -> Entry:
    """The entry under the digest of its chunks too: other chunking is another document to embed."""
    from dataclasses import replace

    from components.engines.base.paths import digest_file, digest_value

    return replace(entry, digest=digest_value([entry.digest, digest_file(chunks / f"{entry.id}.jsonl")]))


if __name__ == "__main__":
    stage.main(index)
