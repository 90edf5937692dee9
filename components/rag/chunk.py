"""Pages -> chunks, document by document: each with its page, the boxes where it stands, and the headings above it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.documents.chunking import Chunking
from components.engines.generation.decoding import Decoding


class Chunk(Chunking):
    """How documents are divided. With `captioner` (a hub id, or a folder such as that of the room image_captioning) figures are
    described by it; else a figure is found by its title alone."""

    captioner: str | None = None
    captioning: Decoding = Decoding()


def chunk(params: Chunk, documents: Path, parsed: Path, chunks: Path) -> None:
    """Write `<document id>.jsonl` for every document with a page that was read."""
    from components.engines.base.errors import StageError
    from components.engines.base.paths import each_of_jsonl, write_jsonl
    from components.engines.documents.chunking import chunks_of
    from components.engines.documents.figures import described
    from components.engines.documents.parsing import pages_of

    total = 0
    describe = _captioner(params) if params.captioner else None
    chunks.mkdir(parents=True)
    for row in each_of_jsonl(documents / "documents.jsonl"):
        shown = pages_of(parsed, row["id"])
        pages = described(shown, describe) if describe else [page for page, _ in shown]
        made = chunks_of(row["id"], pages, params)
        total += write_jsonl(chunks / f"{row['id']}.jsonl", [one.as_dict() for one in made])
    if not total:
        raise StageError(
            "No page holds any text", where="rag-chunk", do="look at the parsing report and at the documents"
        )


def _captioner(params: Chunk) -> Any:
    from components.engines.generation.captioner import ImageCaptioner
    from components.engines.nn.device import own_device

    assert params.captioner
    captioner = ImageCaptioner.load(params.captioner).to(own_device())
    return lambda pictures: [one.text for one in captioner.caption(pictures, params.captioning, scored=False)]


if __name__ == "__main__":
    stage.main(chunk)
