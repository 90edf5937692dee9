"""Pages -> chunks, document by document: each with its page, the boxes where it stands, and the headings above it."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.documents.chunking import Chunking


class Chunk(Chunking):
    """How documents are divided."""


def chunk(params: Chunk, documents: Path, parsed: Path, chunks: Path) -> None:
    """Write `<document id>.jsonl` for every document with a page that was read."""
    from components.engines.base.errors import StageError
    from components.engines.base.paths import each_of_jsonl, write_jsonl
    from components.engines.documents.chunking import chunks_of
    from components.engines.documents.parsing import pages_of

    total = 0
    chunks.mkdir(parents=True)
    for row in each_of_jsonl(documents / "documents.jsonl"):
        pages = [page for page, _ in pages_of(parsed, row["id"])]
        made = chunks_of(row["id"], pages, params)
        total += write_jsonl(chunks / f"{row['id']}.jsonl", [one.as_dict() for one in made])
    if not total:
        raise StageError(
            "No page holds any text", where="rag-chunk", do="look at the parsing report and at the documents"
        )


if __name__ == "__main__":
    stage.main(chunk)
