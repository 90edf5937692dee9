"""Real folders as sources: what is taken in, what is refused with one reason, who may read what."""

import json
import zipfile

import pytest

from components.engines.base.errors import StageError, UsageError
from components.engines.base.paths import read_json, read_jsonl
from components.engines.shards.reader import ShardReader
from components.rag.ingest import Ingest, ingest
from components.rag.world.printer import Printer


def printed(pages):
    printer = Printer("report")
    for number in range(pages):
        printer.heading(f"Part {number}")
        for _ in range(40):
            printer.paragraph("A line that fills the page.")
    return printer.finish()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "library"
    (folder / "board").mkdir(parents=True)
    (folder / "a.md").write_text("# Pumps\n\nThe pump costs 12 euros.")
    (folder / "copy.md").write_text("# Pumps\n\nThe pump costs 12 euros.")
    (folder / "board" / "copy.md").write_text("# Pumps\n\nThe pump costs 12 euros.")
    (folder / "report.pdf").write_bytes(printed(2))
    (folder / "cut.pdf").write_bytes(printed(1)[:-400])
    (folder / "wrong.pdf").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "old.txt").write_bytes(b"caf\xe9")
    (folder / ".hidden.md").write_text("not looked at")
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        archive.writestr("inside/b.html", "<h1>Lamps</h1><p>Text.</p>")
    return folder


def taken(tmp_path, folder, **params):
    out = tmp_path / "documents"
    ingest(Ingest(source=str(folder), max_bad_fraction=0.9, **params), out)
    return out, {row["name"]: row for row in read_jsonl(out / "documents.jsonl")}


def test_counts_add_up_and_each_refused_file_has_one_reason(tmp_path, folder):
    out, documents = taken(tmp_path, folder, access={"board/*": ["board"]})
    assert set(documents) == {"a.md", "board/copy.md", "report.pdf", "more.zip/inside/b.html"}
    refused = {row["name"]: row["reason"] for row in read_jsonl(out / "quarantined.jsonl")}
    assert refused == {"cut.pdf": "truncated PDF", "wrong.pdf": "wrong suffix", "old.txt": "not UTF-8 text"}
    assert read_jsonl(out / "rejected.jsonl") == [{"name": "copy.md", "reason": "duplicate", "detail": "of a.md"}]
    funnel = read_json(out / "manifest.json")["funnel"]
    assert funnel["seen"] == funnel["kept"] + 1 + 3 == 8
    assert len(list((out / "files").iterdir())) == 4


def test_a_copy_for_other_readers_stays_and_keeps_its_readers(tmp_path, folder):
    _, documents = taken(tmp_path, folder, access={"board/*": ["board"]})
    assert documents["board/copy.md"]["readers"] == ["board"]
    assert documents["a.md"]["readers"] == ["everyone"]


def test_every_page_is_asked_for_in_a_split_of_its_document(tmp_path, folder):
    out, documents = taken(tmp_path, folder)
    report = documents["report.pdf"]
    asked = [json.loads(sample["json"]) for sample in ShardReader(out, f"d{report['id']}")]
    assert [one["number"] for one in asked] == list(range(1, report["pages"] + 1))
    assert {one["file"] for one in asked} == {report["file"]}


def test_questions_come_from_a_file_and_a_line_that_is_none_is_named(tmp_path, folder):
    lines = [{"question": f"What of {number}?", "answer": "12" if number % 3 else None} for number in range(60)]
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(json.dumps(one) for one in lines))
    out, _ = taken(tmp_path, folder, questions=str(path))
    asked = read_jsonl(out / "questions.jsonl")
    assert {one["split"] for one in asked} == {"train", "valid", "test"}
    assert {one["kind"] for one in asked} == {"answerable", "unanswerable"}
    path.write_text('{"question": "Why?"}\n')
    with pytest.raises(StageError, match="no question"):
        ingest(Ingest(source=str(folder), questions=str(path), max_bad_fraction=0.9), tmp_path / "again")


def test_nothing_there_and_too_much_that_is_bad_are_errors(tmp_path, folder):
    with pytest.raises(UsageError, match="does not exist"):
        ingest(Ingest(source=str(tmp_path / "absent")), tmp_path / "out")
    with pytest.raises(StageError):
        ingest(Ingest(source=str(folder), max_bad_fraction=0.1), tmp_path / "out2")
