"""Questions with what answers them: the chunks and passages in which an answer stands, as they were read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from components.engines.base.paths import read_jsonl
from components.engines.documents.chunking import Chunk
from components.engines.documents.files import id_of
from components.engines.documents.quality import plain
from components.engines.index.words import words_of
from components.rag.serving.passages import passages_of


def load_chunks(folder: Path) -> list[Chunk]:
    return [Chunk.from_dict(row) for path in sorted(folder.glob("*.jsonl")) for row in read_jsonl(path)]


def load_questions(documents: Path, split: str | None = None) -> list[dict[str, Any]]:
    rows = read_jsonl(documents / "questions.jsonl")
    return [row for row in rows if split is None or row["split"] == split]


def tells(text: str, asked: dict[str, Any]) -> bool:
    """Whether a text holds the answer, and the thing that the question is about where that is known."""
    held = f" {' '.join(words_of(plain(text)))} "
    wanted = [asked["answer"], *([asked["about"]] if asked.get("about") else [])]
    return all(f" {' '.join(words_of(plain(one)))} " in held for one in wanted)


def gold_chunks(chunks: Iterable[Chunk], asked: dict[str, Any]) -> set[str]:
    """Ids of the chunks that answer: of the document and page where these are known, else of all."""
    if asked["answer"] is None:
        return set()
    document = id_of(asked["document"]) if asked.get("document") else None
    return {
        chunk.id
        for chunk in chunks
        if (document is None or chunk.document == document)
        and (asked.get("page") is None or chunk.page == asked["page"])
        and tells(chunk.whole, asked)
    }


def pairs_of(chunks: Sequence[Chunk], questions: Sequence[dict[str, Any]], max_chars: int) -> list[tuple[str, str]]:
    """What the embedder learns from: questions with what answers them, and of every chunk its own sentences
    (inverse cloze, Lee et al. 2019, arXiv:1906.00300), which needs no questions."""
    by_document: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        by_document.setdefault(chunk.document, []).append(chunk)
    made = []
    for asked in questions:
        if asked["answer"] is None:
            continue
        inside = by_document.get(id_of(asked["document"]), []) if asked.get("document") else chunks
        gold = gold_chunks(inside, asked)
        for chunk in inside:
            if chunk.id in gold:
                made.append((asked["question"], chunk.whole))
                made += [(asked["question"], text) for text in passages_of(chunk, max_chars) if tells(text, asked)][:1]
    for chunk in chunks:
        parts = passages_of(chunk, max_chars)
        if len(parts) > 1:
            made += [(part, chunk.whole) for part in parts[:2]]
    return made
