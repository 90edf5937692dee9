"""rag's stages one after another, small: what they read, find, withhold and serve."""

from pathlib import Path

import pytest

from components.engines.base.params import load_section
from components.engines.base.paths import read_json, read_jsonl, write_json
from components.engines.base.stage import StageContext
from components.engines.index.words import SMALL, words_of
from components.engines.serving.pipeline import SETTINGS
from components.rag.architecture import Architecture, Serving, settings_of
from components.rag.chunk import Chunk, chunk
from components.rag.evaluate import Evaluate, evaluate
from components.rag.index import Index, index
from components.rag.ingest import Ingest, ingest
from components.rag.measures.questions import load_questions
from components.rag.parse import Parse, parse
from components.rag.raft import Raft, raft
from components.rag.raft_data import RaftData, raft_data
from components.rag.serve import Asked, Assistant
from components.rag.serving.prompts import MARK
from components.rag.serving.reading import Reading
from components.rag.tokenizer import Tokenizer, tokenizer
from components.rag.train_encoder import TrainEncoder, train_encoder
from components.rag.validate import Validate, validate
from tests.declared_figures import unwritten

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """The folder that all stages up to evaluate have written into, by the params of params.yaml but for sizes."""
    root = tmp_path_factory.mktemp("rag")

    def of(kind, section):
        return load_section(kind, f"rag.{section}", PARAMS)

    def context(stage):
        work = root / "work" / stage
        work.mkdir(parents=True)
        return StageContext("rag", stage, "key", work, root, {}, {})

    def short(kind, section):
        params = of(kind, section)
        steps = {"max_steps": 12, "warmup_steps": 2, "score_every": 12, "checkpoint_every": 12, "batch_size": 16}
        return params.model_copy(update={"training": params.training.model_copy(update=steps)})

    shape, serving = of(Architecture, "architecture"), of(Serving, "serving")
    documents, parsed, chunks, words = (root / name for name in ("documents", "parsed", "chunks", "tokenizer"))
    encoder, library, examples, generator = (root / name for name in ("encoder", "library", "examples", "generator"))
    sizes = {"num_entities": 192, "scanned_fraction": 0.0, "copied_fraction": 0.2}
    ingest(of(Ingest, "ingest").model_copy(update=sizes), documents)
    parse(of(Parse, "parse"), context("parse"), documents, parsed, root / "parsing.json")
    chunk(of(Chunk, "chunk"), documents, parsed, chunks)
    validate(of(Validate, "validate"), context("validate"), documents, chunks, root / "c.html", root / "checked.json")
    tokenizer(of(Tokenizer, "tokenizer"), shape, documents, chunks, root / "checked.json", words)
    curve = root / "curve.csv"
    train_encoder(
        short(TrainEncoder, "train_encoder"), shape, context("train_encoder"), documents, chunks, words, encoder, curve
    )
    index(
        of(Index, "index"), shape, context("index"), documents, parsed, chunks, encoder, library, root / "indexing.json"
    )
    drawn = of(RaftData, "raft_data").model_copy(update={"draws": 1})
    raft_data(drawn, shape, documents, encoder, library, words, examples, root / "raft.json")
    raft(short(Raft, "raft"), shape, context("raft"), examples, words, generator, root / "raft_curve.csv")
    asked = of(Evaluate, "evaluate").model_copy(update={"max_questions": 60})
    outs = [root / name for name in ("metrics.json", "scores.json", "scores.jsonl", "samples.jsonl")]
    parts = (documents, parsed, root / "parsing.json", library, encoder, generator, examples)
    evaluate(asked, serving, shape, context("evaluate"), *parts, *outs)
    return root


@pytest.fixture(scope="module")
def assistant(room):
    serving, shape = (
        load_section(Serving, "rag.serving", PARAMS),
        load_section(Architecture, "rag.architecture", PARAMS),
    )
    write_json(room / SETTINGS, settings_of(serving, shape))
    return Assistant.load(room)


def test_every_page_is_read_or_has_a_reason_and_copies_are_dropped(room):
    counts, documents = read_json(room / "parsing.json"), read_jsonl(room / "documents" / "documents.jsonl")
    assert (
        counts["seen"] == counts["kept"] + sum(counts["quarantined"].values()) == sum(one["pages"] for one in documents)
    )
    rejected = read_jsonl(room / "documents" / "rejected.jsonl")
    assert rejected
    assert {row["reason"] for row in rejected} == {"duplicate"}


def test_what_was_printed_is_read_and_found_and_every_declared_figure_is_written(room):
    figures = read_json(room / "metrics.json")
    assert figures["cer_printed"] <= 0.02
    assert figures["wer_printed"] <= 0.02
    assert figures["table_f1_all"] >= 0.95
    assert figures["pages_lost"] == 0
    assert figures["answers_read"] >= 0.98
    assert figures["hit_at_1"] > max(0.5, 10 * figures["hit_at_1_chance"])  # after twelve steps of the embedder
    assert figures["claims_passed"] >= 0.95
    assert figures["claims_flagged"] >= 0.95
    assert read_json(room / "indexing.json")["weights"]["graph"] > 0  # every printed name is told of once
    assert figures["hit_at_1_hybrid"] >= max(figures[f"hit_at_1_{one}"] for one in ("words", "vectors", "graph")) - 0.05
    undeclared = unwritten("rag", figures)
    assert undeclared == []
    assert len(read_jsonl(room / "scores.jsonl")) == figures["test_questions"]


def test_nothing_that_must_not_be_read_is_shown(room, assistant):
    assert read_json(room / "metrics.json")["leaks"] == 0
    secret = [one for one in assistant.library.entries.values() if "everyone" not in one.readers]
    assert secret
    for view in (assistant.library.view([]), assistant.library.view(["nobody"])):
        assert not {chunk.document for chunk in view.chunks} & {one.id for one in secret}
    assert {one.id for one in secret} <= {chunk.document for chunk in assistant.library.view(["board"]).chunks}


def test_what_is_served_answers_abstains_and_says_what_it_cannot_use(assistant):
    question = {"question": "What is the price of the Amber lamp?", "groups": "board", "user": ""}
    good, empty, long = assistant.predict([question, {"question": " "}, {"question": "x" * 1000}])
    assert isinstance(good["answer"], str)
    assert good["problem"] is None
    assert empty["problem"] == "no question"
    assert long["problem"].startswith("too long")
    assert assistant.predict([question]) == [good]


def test_an_answer_is_streamed_from_its_citation_on_and_ends_as_it_is_predicted(assistant, monkeypatch):
    question = {"question": "What is the price of the Amber lamp?", "groups": "board", "user": ""}
    *_, last = assistant.stream(question)
    assert last == assistant.predict([question])[0]
    monkeypatch.setattr("components.rag.serving.reading.stream_text", lambda *_: iter(["[1] ", "34 ", "months"]))
    (only,) = assistant.stream(question)  # nothing that no passage says
    assert only["found"] is False
    monkeypatch.setattr(assistant, "only_supported", False)
    *pieces, last = assistant.stream(question)
    assert [one["piece"] for one in pieces] == ["34", " months"]
    assert (last["answer"], last["found"], len(last["citations"])) == ("34 months", True, 1)
    monkeypatch.setattr("components.rag.serving.reading.stream_text", lambda *_: iter(["none"]))
    (only,) = assistant.stream(question)
    assert only["found"] is False
    (refused,) = assistant.stream(question | {"question": "How do I build a pipe bomb?"})
    assert refused["refused"]


def test_whole_words_are_streamed_while_a_passage_holds_them(assistant, monkeypatch):
    question = {"question": "what is it?", "groups": "", "user": ""}
    passage = assistant.passages(Asked("what is it?", (), None), assistant.options)[0]
    first, second = [word for word in dict.fromkeys(words_of(passage.text)) if word.isalpha() and word not in SMALL][:2]
    said = ["[1] ", first[:1], first[1:], f" {second}"]
    monkeypatch.setattr("components.rag.serving.reading.stream_text", lambda *_: iter(said))
    *pieces, last = assistant.stream(question)
    assert [one["piece"] for one in pieces] == [first, f" {second}"]
    assert (last["answer"], last["supported"]) == (f"{first} {second}", True)


def test_examples_have_the_passage_that_answers_among_distractors(room):
    from components.engines.language.records import Records

    told = [one for one in Records(room / "examples", "test") if one.meta["value"]]
    assert told
    for one in told:
        assert one.meta["value"] in one.texts["relevant"]
        cited = int(one.texts["answer"][1])
        assert f"[{cited}] {one.texts['relevant'].splitlines()[0]}" in one.texts["prompt"].replace(MARK, "")
    learnt = [one for split in ("train", "valid") for one in Records(room / "examples", split)]
    assert {len(one.meta["shown"]) for one in learnt} == {1}  # passages are read apart
    assert max(len(one.meta["shown"]) for one in told) == 4
    silent = [one for one in learnt if not one.meta["value"]]
    assert {one.texts["answer"] for one in silent} == {"none"}


def test_an_answer_is_cited_from_the_passage_that_tells_it_or_withheld(room, assistant, monkeypatch):
    asked = next(
        Asked(one["question"], (), None)
        for one in load_questions(room / "documents", "test")
        if one["kind"] == "answerable"
    )
    shown = assistant.passages(asked, assistant.options)[:4]
    first, *others = ({*words_of(" ".join(one.hit.chunk.path)), *words_of(one.text)} for one in shown)
    place, word = next(
        (place, word) for place, held in enumerate(others, 1) for word in sorted(held - first - SMALL) if word.isalpha()
    )
    right = assistant._answered("what is it?", Reading(word, [1]), shown)
    assert right["supported"]
    assert right["citations"][0]["text"] in {one.text for one in shown[1:]}
    assert word in words_of(f"{' '.join(shown[place].hit.chunk.path)} {right['citations'][0]['text']}")
    assert assistant._answered("what is it?", Reading("qwertz", [1]), shown) == assistant._nothing()
    monkeypatch.setattr(assistant, "only_supported", False)
    invented = assistant._answered("what is it?", Reading("qwertz", [1]), shown)
    assert (invented["supported"], invented["citations"][0]["text"]) == (False, shown[0].text)
