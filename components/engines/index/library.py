"""A searchable library on disk: a folder per kind of thing, in it a file per document: a change touches that document only.

    library.json             documents by id: name, digest, readers; how vectors are searched
    chunks/<id>.jsonl        vectors/<id>.npy        pages/<id>/<number>.jpg

Structures over all documents (nearest neighbours, words, names) are built from these when the library is opened, for what a
reader may see: so a deleted document leaves no trace in them, and a forbidden one was never there.
"""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from components.engines.base.errors import StageError
from components.engines.base.paths import read_json, read_jsonl, remove, write_json, write_jsonl
from components.engines.documents.chunking import Chunk
from components.engines.documents.files import Entry
from components.engines.index.fusion import UNTUNED, fused, tuned
from components.engines.index.graph import Graph
from components.engines.index.vectors import VectorParams, Vectors, load_vectors, save_vectors
from components.engines.index.words import Words

LIBRARY = "library.json"
EVERYONE = "everyone"
Mode = Literal["words", "vectors", "graph", "hybrid"]
Embed = Callable[[list[str]], np.ndarray]
_VIEWS_KEPT = 8


@dataclass(frozen=True)
class Changes:
    """Ids of documents by what was done with them."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]


def sync(
    folder: Path,
    entries: Iterable[Entry],
    make: Callable[[Entry], tuple[list[Chunk], dict[int, bytes]]],
    embed: Embed,
    params: VectorParams,
    made_by: str,
) -> Changes:
    """Bring the library in `folder` up to date with `entries`, reading and embedding only what is new or has changed.

    `make` gives a document's chunks and the pictures of its pages by number. `made_by` stands for all that the result depends on
    besides the documents (chunking, encoder): under another one everything is made anew. library.json is written last.
    """
    told: dict[str, Any] = (
        read_json(folder / LIBRARY) if (folder / LIBRARY).is_file() else {"documents": {}, "made_by": made_by}
    )
    before = told["documents"] if told["made_by"] == made_by else {}
    for old in told["documents"].keys() - before.keys():
        _forget(folder, old)
    now = {entry.id: entry for entry in entries}
    added, changed, kept = list[str](), list[str](), list[str]()
    for entry in now.values():
        known = before.get(entry.id)
        if known is not None and known["digest"] == entry.digest:
            kept.append(entry.id)
            continue
        (changed if known else added).append(entry.id)
        _forget(folder, entry.id)
        chunks, pictures = make(entry)
        write_jsonl(folder / "chunks" / f"{entry.id}.jsonl", [chunk.as_dict() for chunk in chunks])
        vectors = embed([chunk.whole for chunk in chunks]) if chunks else np.zeros((0, 0), np.float32)
        (folder / "vectors").mkdir(parents=True, exist_ok=True)
        save_vectors(folder / "vectors" / f"{entry.id}.npy", vectors)
        for number, picture in pictures.items():
            path = folder / "pages" / entry.id / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture)
    removed = sorted(before.keys() - now.keys())
    for gone in removed:
        _forget(folder, gone)
    documents = {entry.id: entry.as_dict() for entry in sorted(now.values(), key=lambda one: one.id)}
    write_json(folder / LIBRARY, {"made_by": made_by, "vectors": params.model_dump(), "documents": documents})
    return Changes(tuple(added), tuple(changed), tuple(removed), tuple(kept))


def _forget(folder: Path, document: str) -> None:
    for path in (
        folder / "chunks" / f"{document}.jsonl",
        folder / "vectors" / f"{document}.npy",
        folder / "pages" / document,
    ):
        if path.exists():
            remove(path)


def copy_library(old: Path, new: Path) -> None:
    """A starting point for `sync`: the same files under another name."""
    if (old / LIBRARY).is_file():
        shutil.copytree(old, new, dirs_exist_ok=True)


@dataclass(frozen=True)
class Hit:
    """A chunk that was found, and how well it fits; scores of one search compare among themselves only."""

    chunk: Chunk
    entry: Entry
    score: float


class Library:
    """A library as its readers see it. `embed` gives vectors of queries."""

    def __init__(self, folder: Path, embed: Embed, params: VectorParams | None = None) -> None:
        try:
            told = read_json(folder / LIBRARY)
        except FileNotFoundError:
            raise StageError(
                "There is no library here", where=str(folder / LIBRARY), do="run the stage that writes it"
            ) from None
        self.folder, self.embed = folder, embed
        self.params = params or VectorParams(**told["vectors"])
        self.weights: dict[str, float] = told.get("weights", UNTUNED)  # of the searches that `hybrid` fuses
        self.entries = {name: Entry.from_dict(body) for name, body in told["documents"].items()}
        self._views: OrderedDict[tuple[str, ...], View] = OrderedDict()

    def may_read(self, document: str, groups: Iterable[str]) -> bool:
        entry = self.entries.get(document)
        return entry is not None and bool({EVERYONE, *groups} & set(entry.readers))

    def view(self, groups: Iterable[str]) -> View:
        """What members of these groups may search: everything else is not in it."""
        listed = tuple(groups)
        key = tuple(sorted(name for name in self.entries if self.may_read(name, listed)))
        if key not in self._views:
            self._views[key] = View(self, key)
            while len(self._views) > _VIEWS_KEPT:
                self._views.popitem(last=False)
        self._views.move_to_end(key)
        return self._views[key]

    def picture(self, document: str, number: int, groups: Iterable[str]) -> bytes | None:
        """A page's picture for those who may read it; None for all others, and where there is none."""
        path = self.folder / "pages" / document / f"{int(number)}.jpg"
        return path.read_bytes() if self.may_read(document, groups) and path.is_file() else None


class View:
    """Some documents of a library, with the structures to search them, each built when it is first asked for."""

    def __init__(self, library: Library, documents: Sequence[str]) -> None:
        self.library = library
        self.chunks: list[Chunk] = []
        parts = []
        for name in documents:
            chunks = [Chunk.from_dict(row) for row in read_jsonl(library.folder / "chunks" / f"{name}.jsonl")]
            if chunks:
                self.chunks += chunks
                parts.append(load_vectors(library.folder / "vectors" / f"{name}.npy"))
        self._parts = parts

    @cached_property
    def matrix(self) -> np.ndarray:
        """The vectors of all chunks [chunks, d]."""
        return np.concatenate(self._parts)

    @cached_property
    def vectors(self) -> Vectors:
        return Vectors(self.matrix, self.library.params)

    @cached_property
    def words(self) -> Words:
        return Words([chunk.whole for chunk in self.chunks])

    @cached_property
    def graph(self) -> Graph:
        return Graph(self.chunks)

    def search(
        self, questions: list[str], k: int, mode: Mode = "hybrid", vectors: np.ndarray | None = None
    ) -> list[list[Hit]]:
        """The best `k` chunks of each question; `hybrid` fuses the searches by the library's weights. `vectors`: of the
        questions, if known."""
        if not self.chunks or not questions:
            return [[] for _ in questions]
        weights = {name: weight for name, weight in self.library.weights.items() if weight}
        names = [*weights] if mode == "hybrid" else [mode]
        rankings = self.rankings(questions, min(max(4 * k, 20), len(self.chunks)), names, vectors)
        if mode != "hybrid":
            return [self._hits(ranking, k) for ranking in rankings[mode]]
        found = []
        for number in range(len(questions)):
            places = [[place for place, _ in rankings[name][number]] for name in names]
            found.append(self._hits(fused(places, [*weights.values()]), k))
        return found

    def rankings(
        self, questions: list[str], deep: int, names: Iterable[str], vectors: np.ndarray | None = None
    ) -> dict[str, list[list[tuple[int, float]]]]:
        """By search the places of the best `deep` chunks of each question, with their scores."""
        found: dict[str, list[list[tuple[int, float]]]] = {}
        for name in names:
            if name == "words":
                found[name] = [self._by_words(question, deep) for question in questions]
            elif name == "graph":
                found[name] = [self.graph.search(question, deep) for question in questions]
            else:
                known = self.library.embed(questions) if vectors is None else vectors
                scores, places = self.vectors.search(known, deep)
                found[name] = [_pairs(*row) for row in zip(scores, places, strict=True)]
        return found

    def _by_words(self, question: str, k: int) -> list[tuple[int, float]]:
        scores = self.words.scores(question)
        best = np.argsort(-scores, kind="stable")[:k]
        return [(int(place), float(scores[place])) for place in best if scores[place] > 0]

    def _hits(self, ranked: list[tuple[int, float]], k: int) -> list[Hit]:
        return [
            Hit(self.chunks[place], self.library.entries[self.chunks[place].document], score)
            for place, score in ranked[:k]
        ]


def _pairs(scores: Any, places: Any) -> list[tuple[int, float]]:
    return [(int(place), float(score)) for score, place in zip(scores, places, strict=True) if place >= 0]


def tune(library: Library, asked: Sequence[tuple[str, Iterable[str], set[str]]], deep: int = 20) -> dict[str, float]:
    """Weigh the library's searches by questions whose answers are known, and write the weights beside it.

    Each is a question, the groups of who asks it, and the ids of the chunks that answer it.
    """
    rankings: dict[str, list[list[int]]] = {name: [] for name in UNTUNED}
    relevant = []
    for question, groups, gold in asked:
        view = library.view(groups)
        places = {place for place, chunk in enumerate(view.chunks) if chunk.id in gold}
        if places:
            relevant.append(places)
            for name, (found,) in view.rankings([question], min(deep, len(view.chunks)), UNTUNED).items():
                rankings[name].append([place for place, _ in found])
    library.weights = tuned(rankings, relevant)
    told = read_json(library.folder / LIBRARY)
    write_json(library.folder / LIBRARY, {**told, "weights": library.weights})
    return library.weights
