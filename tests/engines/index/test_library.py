"""A searchable library: only what changed is embedded again, what is deleted is gone, what is forbidden was never there."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.engines.base.errors import StageError
from components.engines.documents.chunking import Chunk, Chunking, chunks_of, split
from components.engines.documents.files import Entry, id_of
from components.engines.documents.page import Block, Cell, Page, Table
from components.engines.index.fusion import UNTUNED, fused, tuned
from components.engines.index.library import EVERYONE, Library, sync, tune
from components.engines.index.vectors import VectorParams, Vectors, checked
from components.engines.index.words import Words
from tests.engines.index.vectors_of_texts import embed

FLAT = VectorParams(kind="flat")
FIRSTS = ("Ada Bo Cem Dag Eva Fay Gus Hal Ida Jon Kai Lea Mia Ned Ole Pia Rex Sam Tom Una Vic Wim Xia Yan Zoe").split()


def entry(name, text, readers=(EVERYONE,)):
    return Entry(id_of(name), name, "text", hashlib.sha256(text.encode()).hexdigest(), 1, readers, f"{name}.txt")


class Shelf:
    """Documents by name, as `sync` takes them in; counts what is made and embedded."""

    def __init__(self, texts, readers=None):
        self.texts, self.readers, self.made, self.embedded = dict(texts), readers or {}, [], []

    def entries(self):
        return [entry(name, text, self.readers.get(name, (EVERYONE,))) for name, text in self.texts.items()]

    def make(self, one):
        self.made.append(one.name)
        text = self.texts[one.name]
        return [Chunk(f"{one.id}-0000", one.id, 1, "text", text, (one.name,), ((1.0, 2.0, 3.0, 4.0),))], {
            1: text.encode()
        }

    def embed(self, texts):
        self.embedded += texts
        return embed(texts)

    def sync(self, folder, made_by="key"):
        self.made, self.embedded = [], []
        return sync(folder, self.entries(), self.make, self.embed, FLAT, made_by)


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_one_changed_document_of_500_is_read_and_embedded_alone(tmp_path):
    shelf = Shelf({f"doc{number:03d}": f"word{number} text of number {number}" for number in range(500)})
    shelf.sync(tmp_path)
    before = files(tmp_path)
    times = {name: (tmp_path / name).stat().st_mtime_ns for name in before}
    shelf.texts["doc123"] = "another text"
    changes = shelf.sync(tmp_path)
    after = files(tmp_path)
    own = id_of("doc123")
    touched = {
        name
        for name in before
        if before[name] != after.get(name) or times[name] != (tmp_path / name).stat().st_mtime_ns
    }
    assert touched == {"library.json", f"chunks/{own}.jsonl", f"vectors/{own}.npy", f"pages/{own}/1.jpg"}
    assert (shelf.made, len(shelf.embedded)) == (["doc123"], 1)
    assert (changes.changed, len(changes.kept), changes.added, changes.removed) == ((own,), 499, (), ())


def test_a_deleted_document_leaves_no_trace(tmp_path):
    shelf = Shelf({"plans": "the xylophone budget", "menu": "soup of the day"})
    shelf.sync(tmp_path)
    del shelf.texts["plans"]
    shelf.sync(tmp_path)
    everything = b"".join(files(tmp_path).values()) + "".join(files(tmp_path)).encode()
    for trace in (b"xylophone", b"plans", id_of("plans").encode()):
        assert trace not in everything
    view = Library(tmp_path, embed).view([])
    for mode in ("words", "vectors", "graph", "hybrid"):
        assert all(hit.entry.name == "menu" for hit in view.search(["xylophone budget plans"], 5, mode)[0])


def test_a_way_over_two_joints_counts_in_the_fused_search_where_it_answers_questions(tmp_path):
    texts = {}
    for number, name in enumerate(FIRSTS):
        head = FIRSTS[(7 * number + 3) % len(FIRSTS)]
        texts[f"staff{number}"] = f"The {name} Depot is run by {head} Lund"
        texts[f"rooms{number}"] = f"Now and then {head} Lund sits in room {30 + number}"
    Shelf(texts).sync(tmp_path)
    library = Library(tmp_path, embed)
    chunks = {chunk.document: chunk.id for chunk in library.view([]).chunks}
    asked = [
        (f"Where sits who runs the {name} Depot?", (), {chunks[id_of(f"rooms{n}")]}) for n, name in enumerate(FIRSTS)
    ]
    assert library.weights == UNTUNED
    assert tune(library, asked[:5]) == UNTUNED  # too few to say
    weights = tune(library, asked)
    assert weights["graph"] > 0
    again = Library(tmp_path, embed)
    assert again.weights == weights
    questions, golds = [one[0] for one in asked], [one[2] for one in asked]
    found = {mode: again.view([]).search(questions, 2, mode) for mode in ("words", "vectors", "graph", "hybrid")}
    right = {
        mode: sum(bool({hit.chunk.id for hit in hits} & gold) for hits, gold in zip(some, golds, strict=True))
        for mode, some in found.items()
    }
    assert right["hybrid"] >= 20
    assert max(right["words"], right["vectors"]) < 5


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_tuned_weights_rank_no_worse_than_the_best_search_alone(data):
    orders = st.permutations(range(6))
    rankings = {name: [data.draw(orders) for _ in range(20)] for name in UNTUNED}
    relevant = [data.draw(st.sets(st.integers(0, 5), min_size=1, max_size=2)) for _ in range(20)]
    weights = tuned(rankings, relevant)

    def reciprocal(order, gold):
        return 1 / next(rank for rank, place in enumerate(order, 1) if place in gold)

    used = [name for name in weights if weights[name]]
    together = [
        [place for place, _ in fused([rankings[name][n] for name in used], [weights[name] for name in used])]
        for n in range(20)
    ]
    ranks = {name: sum(map(reciprocal, orders, relevant)) for name, orders in {**rankings, "tuned": together}.items()}
    assert ranks["tuned"] >= max(ranks.values()) - 1e-9


def test_another_encoder_embeds_everything_anew(tmp_path):
    shelf = Shelf({"a": "one", "b": "two"})
    shelf.sync(tmp_path)
    shelf.sync(tmp_path)
    assert shelf.made == []
    shelf.sync(tmp_path, "another key")
    assert sorted(shelf.made) == ["a", "b"]


GROUPS = ["board", "hr", "lab"]


@settings(max_examples=40, deadline=None)
@given(
    readers=st.lists(st.sets(st.sampled_from([*GROUPS, EVERYONE]), min_size=1), min_size=2, max_size=6),
    asker=st.sets(st.sampled_from(GROUPS)),
    question=st.sampled_from(["secret of doc0", "doc1 doc2 doc3", "nothing", "text secret"]),
    mode=st.sampled_from(["words", "vectors", "graph", "hybrid"]),
    k=st.integers(1, 8),
)
def test_what_is_forbidden_changes_nothing_that_the_asker_sees(tmp_path_factory, readers, asker, question, mode, k):
    """Not a chunk, a title, a picture, a count or a score: the library answers as if only what may be read were in it."""
    texts = {f"doc{number}": f"Secret number {number} of Doc{number} in text" for number in range(len(readers))}
    who = {name: tuple(sorted(readers[number])) for number, name in enumerate(texts)}
    allowed = {name for name in texts if {EVERYONE, *asker} & set(who[name])}
    answers = []
    for names in (texts, allowed):
        folder = tmp_path_factory.mktemp("library")
        Shelf({name: texts[name] for name in texts if name in names}, who).sync(folder)
        library = Library(folder, embed)
        hits = library.view(asker).search([question], k, mode)[0]
        answers.append([(hit.chunk, hit.entry.name, hit.score) for hit in hits])
        for name in texts:
            assert (library.picture(id_of(name), 1, asker) is not None) == (name in allowed)
    assert answers[0] == answers[1]
    assert {name for _, name, _ in answers[0]} <= allowed


@pytest.mark.parametrize("kind", ["flat", "tree", "lsh", "ivf", "hnsw"])
def test_every_index_finds_what_is_there(kind):
    rng = np.random.default_rng(0)
    middles = rng.standard_normal((20, 32))
    vectors = checked(np.repeat(middles, 50, axis=0) + 0.2 * rng.standard_normal((1000, 32)))
    queries = checked(vectors[::50] + 0.02 * rng.standard_normal((20, 32)))
    _, exact = Vectors(vectors, FLAT).search(queries, 10)
    scores, found = Vectors(vectors, VectorParams(kind=kind)).search(queries, 10)
    recall = np.mean([len(set(one) & set(other)) / 10 for one, other in zip(exact, found, strict=True)])
    assert recall >= {"flat": 1.0, "tree": 0.8, "lsh": 0.6, "ivf": 0.95, "hnsw": 0.95}[kind]
    assert (np.diff(scores, axis=1) <= 1e-6).all()
    again = Vectors(vectors, VectorParams(kind=kind)).search(queries, 10)[1]
    assert (again == found).all()


@pytest.mark.parametrize("bad", [np.zeros((3, 4)), np.full((3, 4), np.nan)])
def test_vectors_without_a_direction_are_refused(bad):
    with pytest.raises(StageError, match="no direction"):
        Vectors(bad, FLAT)


def test_rare_words_weigh_more_and_order_does_not_matter():
    words = Words(["the pump of the plant", "the lamp of the plant", "the the the"])
    assert words.scores("pump the").argmax() == 0
    assert (words.scores("pump plant") == words.scores("plant pump")).all()
    assert words.scores("absent").max() == 0
    assert words.idf("absent") > words.idf("pump") > words.idf("the")


def test_bm25_is_as_the_formula_says():
    texts = ["a b b", "b c"]
    k1, b, idf = 1.2, 0.75, np.log(1 + (2 - 1 + 0.5) / (1 + 0.5))
    expected = idf * 1 * (k1 + 1) / (1 + k1 * (1 - b + b * 3 / 2.5))
    assert Words(texts).scores("a")[0] == pytest.approx(expected)


def test_fusion_prefers_what_several_searches_found():
    assert next(place for place, _ in fused([[1, 2, 3], [2, 4]])) == 2


def test_names_join_chunks_over_another_name(tmp_path):
    shelf = Shelf(
        {
            "Cedar depot": "The manager of the Cedar depot is Mira Holt.",
            "Mira Holt": "Mira Holt sits in room 212.",
            "Oak depot": "The manager of the Oak depot is Jonas Lind.",
            "Jonas Lind": "Jonas Lind sits in room 101.",
        }
    )
    shelf.sync(tmp_path)
    hits = Library(tmp_path, embed).view([]).search(["In which room is the manager of the Cedar depot?"], 2, "graph")[0]
    assert {hit.entry.name for hit in hits} == {"Cedar depot", "Mira Holt"}


def page(*blocks, number=1):
    return Page(number, 600, 800, "text layer", blocks)


def test_chunks_have_their_page_their_boxes_and_the_headings_above():
    table = Table((Cell(0, 0, "name"), Cell(0, 1, "price"), Cell(1, 0, "lamp"), Cell(1, 1, "12")))
    pages = [
        page(
            Block("heading", "Handbook", (0, 100, 9, 110), level=1),
            Block("heading", "Prices", (0, 120, 9, 130), level=2),
            Block("text", "Before the table.", (0, 140, 9, 150)),
            Block("table", "", (0, 160, 9, 190), title="Table 1: Prices", table=table),
        ),
        page(Block("text", "On the next page.", (0, 300, 9, 310)), number=2),
    ]
    before, tabled, after = chunks_of("d", pages, Chunking())
    assert (before.page, before.path, before.boxes) == (1, ("Handbook", "Prices"), ((0, 140, 9, 150),))
    assert tabled.text == "Table 1: Prices\nname: lamp; price: 12"
    assert tabled.boxes == ((0, 160, 9, 190),)
    assert (after.page, after.path) == (2, ("Handbook", "Prices"))


def test_running_heads_and_page_numbers_are_left_out():
    pages = [
        page(
            Block("text", f"ACME confidential {number}", (0, 10, 50, 20)),
            Block("text", f"Text {number}.", (0, 300, 50, 320)),
            Block("text", f"Page {number} of 3", (0, 780, 50, 790)),
            number=number,
        )
        for number in (1, 2, 3)
    ]
    assert [chunk.text for chunk in chunks_of("d", pages, Chunking())] == ["Text 1.", "Text 2.", "Text 3."]


TEXT = "First sentence here. Second one follows.\n\nA new paragraph begins. It ends."


@pytest.mark.parametrize(
    ("params", "parts"),
    [
        (Chunking(by="length", max_chars=45), 2),
        (Chunking(by="pattern", pattern=r"\n\s*\n"), 2),
        (Chunking(by="structure", max_chars=600), 1),
    ],
)
def test_three_ways_of_chunking(params, parts):
    made = split(TEXT, params)
    assert len(made) == parts
    assert "".join("".join(made).split()) == "".join(TEXT.split())


@given(st.text("ab \n.", min_size=1, max_size=300), st.integers(10, 60))
def test_no_text_is_lost_by_length(text, size):
    made = split(text, Chunking(by="length", max_chars=size))
    assert all(len(part) <= size for part in made)
    assert "".join("".join(made).split()).replace(".", "") == "".join(text.split()).replace(".", "")


def test_readers_that_change_count_at_once(tmp_path):
    shelf = Shelf({"a": "one"})
    shelf.sync(tmp_path)
    shelf.readers = {"a": ("board",)}
    changes = shelf.sync(tmp_path)
    assert changes.kept == (id_of("a"),)
    library = Library(tmp_path, embed)
    assert library.view([]).search(["one"], 3) == [[]]
    assert library.view(["board"]).search(["one"], 3)[0][0].entry == replace(entry("a", "one"), readers=("board",))
