"""Documents and questions from the document printer or any folder -> files, and for each a shard of pages to read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from components.engines.base import stage
from components.engines.base.errors import BadRecord
from components.engines.base.params import Fraction, MaxBadFraction, Params, Positive
from components.engines.documents.pdf import PdfLimits

if TYPE_CHECKING:
    from components.engines.documents.files import Entry
    from components.engines.shards.manifest import ShardEntry
    from components.rag.world.library import Library


class Ingest(Params):
    """Where documents and questions come from.

    `source`: `sample`, a folder, or a file; zips are looked into. `questions`: JSONL with question, answer (null: nobody can
    know), perhaps document, page, groups, split. `access` gives documents whose name matches a pattern to groups of readers, the
    first match counts; others are for everyone. `num_entities`, `scanned_fraction` and `copied_fraction` are for the sample.
    """

    source: str = "sample"
    questions: str | None = None
    access: dict[str, list[str]] = Field(default_factory=dict)
    num_entities: Positive = 240
    scanned_fraction: Fraction = 0.3
    copied_fraction: Fraction = 0.08
    test_fraction: Fraction = 0.2
    valid_fraction: Fraction = 0.1
    pages_per_shard: Positive = 32
    limits: PdfLimits = PdfLimits()
    max_bad_fraction: MaxBadFraction = 0.2
    seed: int = 0


def ingest(params: Ingest, documents: Path) -> None:
    """Write `files/`, `documents.jsonl`, `questions.jsonl`, the sample's `truth.jsonl`, what was refused, shards of pages."""
    from components.engines.base.evidence import RecordFile
    from components.engines.base.funnel import Funnel
    from components.engines.base.paths import write_jsonl
    from components.engines.shards.manifest import write_manifest

    funnel, entries, shards = Funnel(), list[Any](), list[Any]()
    seen: dict[tuple[str, tuple[str, ...]], str] = {}
    (documents / "files").mkdir(parents=True)
    with ExitStack() as opened:
        quarantined = opened.enter_context(RecordFile(documents / "quarantined.jsonl"))
        rejected = opened.enter_context(RecordFile(documents / "rejected.jsonl"))

        def on_bad(name: str, bad: BadRecord) -> None:
            quarantined.append({"name": name, "reason": bad.reason, "detail": bad.detail})
            funnel.quarantine(bad.reason)

        source = Sample(params, documents) if params.source == "sample" else Folder(params)
        for name, data, readers in source.found(on_bad):
            try:
                entry = _stored(name, data, readers, documents / "files", params.limits)
            except BadRecord as bad:
                on_bad(name, bad)
                continue
            first = seen.setdefault((entry.digest, entry.readers), name)
            if first != name:  # the same bytes for the same readers; for others a copy stays
                (documents / "files" / entry.file).unlink()
                rejected.append({"name": name, "reason": "duplicate", "detail": f"of {first}"})
                funnel.reject("duplicate")
                continue
            entries.append(entry)
            shards += _pages(entry, documents, params.pages_per_shard)
            funnel.keep()
        funnel.check(where=params.source, max_bad_fraction=params.max_bad_fraction, records=quarantined)
        funnel.check_some_kept("documents", where=params.source, do="look at `source`", records=quarantined)
        write_jsonl(documents / "documents.jsonl", (entry.as_dict() for entry in entries))
        write_jsonl(documents / "questions.jsonl", source.questions())
    write_manifest(documents, shards, funnel)


def _stored(name: str, data: bytes, readers: tuple[str, ...], folder: Path, limits: PdfLimits) -> Entry:
    from components.engines.documents.files import entry_of, id_of, kind_of

    kind = kind_of(name, data)
    path = folder / f"{id_of(name)}{Path(name).suffix.lower()}"
    path.write_bytes(data)
    try:
        return entry_of(name, path, kind, data, readers, limits)
    except BadRecord:
        path.unlink()
        raise


def _pages(entry: Entry, documents: Path, pages_per_shard: int) -> list[ShardEntry]:
    """A split of its own for each document: its shards change only when it does."""
    from components.engines.shards.writer import ShardWriter

    with ShardWriter(documents, f"d{entry.id}", pages_per_shard) as writer:
        for number in range(1, entry.pages + 1):
            asked = {
                "document": entry.id,
                "file": entry.file,
                "digest": entry.digest,
                "kind": entry.kind,
                "number": number,
            }
            writer.write({"__key__": f"{entry.id}-{number:05d}", "json": json.dumps(asked).encode()})
    return writer.shards


class Folder:
    """Documents of a folder, with the questions of a file beside it."""

    def __init__(self, params: Ingest) -> None:
        self.params = params

    def found(self, on_bad: Any) -> Iterator[tuple[str, bytes, tuple[str, ...]]]:
        from components.engines.documents.files import find_documents

        for name, data in find_documents(Path(self.params.source), on_bad):
            yield name, data, self._readers(name)

    def _readers(self, name: str) -> tuple[str, ...]:
        from components.engines.index.library import EVERYONE

        given = (groups for pattern, groups in self.params.access.items() if fnmatch(name, pattern))
        return tuple(next(given, [EVERYONE]))

    def questions(self) -> Iterator[dict[str, Any]]:
        from components.engines.base.errors import StageError
        from components.engines.base.paths import each_of_jsonl
        from components.engines.base.seeds import derive

        if self.params.questions is None:
            return
        for number, row in enumerate(each_of_jsonl(Path(self.params.questions))):
            if not isinstance(row.get("question"), str) or "answer" not in row:
                raise StageError(
                    "A line is no question: it needs `question` and `answer`",
                    where=f"{self.params.questions}:{number + 1}",
                )
            place, test = derive(self.params.seed, "split", row["question"]) % 1000 / 1000, self.params.test_fraction
            split = "test" if place < test else "valid" if place < test + self.params.valid_fraction else "train"
            yield {
                "id": f"q{number:06d}",
                "kind": "answerable" if row["answer"] else "unanswerable",
                "split": split,
                **row,
            }


class Sample:
    """The document printer, and what it knows about what it printed."""

    def __init__(self, params: Ingest, documents: Path) -> None:
        from components.rag.world.library import Library

        self.params, self.documents = params, documents
        self.library: Library = Library(
            params.num_entities,
            params.seed,
            scanned_fraction=params.scanned_fraction,
            copied_fraction=params.copied_fraction,
        )

    def found(self, on_bad: Any) -> Iterator[tuple[str, bytes, tuple[str, ...]]]:
        from dataclasses import asdict

        from components.engines.base.evidence import RecordFile

        with RecordFile(self.documents / "truth.jsonl") as truth:
            for printed in self.library.documents():
                pages = [
                    {"text": page.text, "tables": [[title, asdict(table)["cells"]] for title, table in page.tables]}
                    for page in printed.pages
                ]
                truth.append(
                    {"name": printed.name, "scanned": printed.scanned, "copy": printed.copy_of, "pages": pages}
                )
                yield printed.name, printed.data, printed.readers

    def questions(self) -> Iterator[dict[str, Any]]:
        for number, asked in enumerate(self.library.questions(self.params.test_fraction, self.params.valid_fraction)):
            yield {
                "id": f"q{number:06d}",
                "question": asked.text,
                "answer": asked.answer,
                "kind": asked.kind,
                "about": asked.about,
                "groups": list(asked.groups),
                "document": asked.document,
                "page": asked.page,
                "form": asked.form,
                "split": asked.split,
            }


if __name__ == "__main__":
    stage.main(ingest)
