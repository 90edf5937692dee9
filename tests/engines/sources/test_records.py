"""Records from files of every format: what is read, what is quarantined, what stops the run."""

import contextlib
import csv
import gzip
import io
import json
import string
from pathlib import Path

import pandas
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.engines.base.errors import GenworksError, StageError, UsageError
from components.engines.base.funnel import Funnel
from components.engines.sources.records import read_records

ROWS = [{"en": "one, two", "de": "eins, zwei"}, {"en": 'say "hi"', "de": "sag „hallo“\nja"}, {"en": "three", "de": ""}]


def read(source, fields=None, required=(), **options):
    """(records, quarantined) of a source."""
    bad: list[dict] = []
    funnel = options.pop("funnel", None) or Funnel()
    records = list(
        read_records(str(source), fields=fields or {}, required=required, funnel=funnel, on_bad=bad.append, **options)
    )
    assert sum(funnel.quarantined.values()) == len(bad) == funnel.seen
    return records, bad


def write_csv(path: Path, rows=ROWS, **options) -> Path:
    with path.open("w", encoding=options.pop("encoding", "utf-8"), newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), **options)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.jsonl", "a.parquet", "a.csv.gz", "a.jsonl.bz2", "a.json.xz"])
def test_every_format_gives_the_same_records(tmp_path, name):
    frame, path = pandas.DataFrame(ROWS), tmp_path / name
    if ".csv" in name:
        frame.to_csv(path, index=False)
    elif ".parquet" in name:
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=".jsonl" in name)
    assert read(path, {"source": "en", "target": "de"}) == (
        [{"source": row["en"], "target": row["de"]} for row in ROWS],
        [],
    )


def test_tsv_takes_quotes_as_they_stand(tmp_path):
    path = write_bytes(tmp_path / "a.tsv", '"Hi," he said\t"Hallo"\r\n"No\t„Nein“\r\n'.encode())
    path.write_bytes(b"en\tde\r\n" + path.read_bytes())
    records, bad = read(path, {"source": "en", "target": "de"})
    assert records == [{"source": '"Hi," he said', "target": '"Hallo"'}, {"source": '"No', "target": "„Nein“"}]
    assert not bad


cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(st.lists(st.tuples(cell, cell), min_size=1, max_size=8))
def test_csv_round_trip(tmp_path_factory, pairs):
    path = write_csv(tmp_path_factory.mktemp("csv") / "a.csv", [{"x": x, "y": y} for x, y in pairs])
    assert read(path) == ([{"x": x, "y": y} for x, y in pairs], [])


@given(st.lists(st.tuples(cell, cell), min_size=1, max_size=8))
def test_jsonl_round_trip(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    path.write_bytes(b"".join(json.dumps({"x": x, "y": y}, ensure_ascii=False).encode() + b"\n" for x, y in pairs))
    assert read(path) == ([{"x": x, "y": y} for x, y in pairs], [])


@given(st.binary(max_size=300), st.sampled_from(["csv", "tsv", "json", "jsonl", "parquet"]))
def test_no_bytes_escape_the_two_ways_out(tmp_path_factory, data, format):
    """Whatever a file holds: records and quarantine, or one clear error."""
    path = write_bytes(tmp_path_factory.mktemp("any") / "a.bin", b"a,b\n" * (format == "csv") + data)
    with contextlib.suppress(GenworksError):
        read(path, format=format)


def test_byte_order_mark_and_crlf(tmp_path):
    path = write_csv(tmp_path / "a.csv", encoding="utf-8-sig")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert b"\r\n" in path.read_bytes()
    assert read(path)[0] == ROWS


def test_broken_records_are_quarantined_and_reading_goes_on(tmp_path):
    path = write_bytes(
        tmp_path / "a.csv",
        b'en,de\nfine,gut\nbr\xffken,x\nonly one\na,b,c\n"bad" quote,y\n\nlast,"multi\nline"\n',
    )
    funnel = Funnel()
    records, bad = read(path, required=("en", "de"), funnel=funnel)
    assert records == [{"en": "fine", "de": "gut"}, {"en": "last", "de": "multi\nline"}]
    assert [(row["reason"], row["line"], row["file"]) for row in bad] == [
        ("broken UTF-8", 3, "a.csv"),
        ("wrong number of cells", 4, "a.csv"),
        ("wrong number of cells", 5, "a.csv"),
        ("bad quoting", 6, "a.csv"),
    ]
    assert funnel.quarantined == {"broken UTF-8": 1, "wrong number of cells": 2, "bad quoting": 1}
    json.dumps(bad).encode()  # details are printable whatever the bytes were
    "".join(row["detail"] for row in bad).encode("utf-8")


def test_broken_utf8_outside_the_wanted_columns_is_no_matter(tmp_path):
    path = write_bytes(tmp_path / "a.tsv", b"en\tnote\nfine\tbr\xff\n")
    assert read(path, {"source": "en"}) == ([{"source": "fine"}], [])


def test_jsonl_lines_that_are_no_records(tmp_path):
    lines = [
        '{"en": "a"}',
        "{oops",
        "[1]",
        '{"en": null}',
        '{"de": "x"}',
        '{"en": NaN}',
        '{"en": "\\ud800"}',
        "",
        '{"en": "b"}',
    ]
    path = write_bytes(tmp_path / "a.jsonl", "\n".join([*lines, "[" * 100_000]).encode())
    records, bad = read(path, required=("en",))
    assert records == [{"en": "a"}, {"en": "b"}]
    assert [(row["reason"], row["line"]) for row in bad] == [
        ("invalid JSON", 2),
        ("not an object", 3),
        ("missing field", 4),
        ("missing field", 5),
        ("invalid JSON", 6),
        ("broken UTF-8", 7),
        ("invalid JSON", 10),
    ]


def test_null_is_bad_only_in_required_fields(tmp_path):
    pandas.DataFrame({"a": ["x", None], "b": [None, "y"]}).to_parquet(tmp_path / "a.parquet")
    records, bad = read(tmp_path / "a.parquet", {"left": "a", "right": "b"}, required=("left",))
    assert records == [{"left": "x", "right": None}]
    assert [row["reason"] for row in bad] == ["missing field"]


def test_nested_columns_by_dotted_name(tmp_path):
    path = write_bytes(tmp_path / "a.jsonl", b'{"id": 1, "translation": {"en": "a", "de": "b"}}\n{"id": 2}\n')
    records, bad = read(path, {"source": "translation.en", "target": "translation.de"}, required=("source", "target"))
    assert records == [{"source": "a", "target": "b"}]
    assert bad[0]["line"] == 2


def test_json_object_around_the_list(tmp_path):
    path = write_bytes(tmp_path / "a.json", b'{"version": "1", "data": [{"x": 1}, 5]}')
    records, bad = read(path)
    assert records == [{"x": 1}]
    assert bad[0]["reason"] == "not an object"


def test_folder_and_glob_are_read_in_sorted_order(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.jsonl", "a.jsonl", "deep/c.jsonl", "_SUCCESS", ".hidden.jsonl", "README.md"):
        write_bytes(tmp_path / name, json.dumps({"x": name}).encode() + b"\noops\n")
    records, bad = read(tmp_path)
    assert [record["x"] for record in records] == ["a.jsonl", "b.jsonl", "deep/c.jsonl"]
    assert [row["file"] for row in bad] == ["a.jsonl", "b.jsonl", "deep/c.jsonl"]
    records, bad = read(tmp_path / "*.jsonl")
    assert [record["x"] for record in records] == ["a.jsonl", "b.jsonl"]
    assert [row["file"] for row in bad] == ["a.jsonl", "b.jsonl"]


def test_a_path_with_glob_signs_that_exists_is_itself(tmp_path):
    write_bytes(tmp_path / "a[1].jsonl", b'{"x": 1}\n')
    assert read(tmp_path / "a[1].jsonl")[0] == [{"x": 1}]


def test_limit_counts_yielded_records(tmp_path):
    path = write_bytes(tmp_path / "a.jsonl", b'oops\n{"x": 1}\n{"x": 2}\noops\n')
    records, bad = read(path, limit=1)
    assert records == [{"x": 1}]
    assert len(bad) == 1
    with pytest.raises(UsageError, match="limit"):
        read(path, limit=0)


def test_format_overrides_the_suffix(tmp_path):
    assert read(write_bytes(tmp_path / "a.txt", b"x\ty\n1\t2\n"), format="tsv")[0] == [{"x": "1", "y": "2"}]


@pytest.mark.parametrize(
    ("name", "data", "options", "kind", "words"),
    [
        ("missing.csv", None, {}, UsageError, "does not exist"),
        ("a.docx", b"x", {}, UsageError, "No format is known for suffix .docx"),
        ("a.csv", b"x\n1\n", {"format": "xls"}, UsageError, "unknown format 'xls'"),
        ("a.csv", b"english,german\n1,2\n", {"fields": {"source": "englsh"}}, UsageError, r"english, german.*: english"),
        ("a.jsonl", b'{"english": 1}\n', {"required": ("englisch",)}, UsageError, r"columns found: english"),
        ("a.parquet", b"PAR1 cut", {}, StageError, "not Parquet or is cut short"),
        ("a.csv", b"", {}, StageError, "empty"),
        ("a.csv", b"\xef\xbb\xbf \r\n", {}, StageError, "empty"),
        ("a.csv", b"en,de\n", {}, StageError, "holds no records"),
        ("a.json", b"[]", {}, StageError, "holds no records"),
        ("a.json", b'{"x": 1}', {}, StageError, "no list of objects"),
        ("a.json", b"[{]", {}, StageError, "not valid JSON"),
        ("a.csv", b"a,b\n1," + bytes(9) + b"\n", {}, StageError, "binary"),
        ("a.csv", b"a,b\n" + b"1,2\n" * 50_000 + b"1," + bytes(9) + b"\n", {}, StageError, r"a.csv:50002"),
        ("a.jsonl", b'{"x": 1}\n' * 50_000 + bytes(9) + b"\n", {}, StageError, r"a.jsonl:50001"),
        ("a.tsv", bytes(range(128, 256)) * 20, {}, StageError, "binary or not UTF-8"),
        ("a.csv", "a,b\n1,2".encode("utf-16-le"), {}, StageError, "encoding=utf-16-le"),
        ("a.csv", gzip.compress(b"a\n1\n", mtime=0), {}, StageError, "gzip, not csv"),
        ("a.csv.gz", gzip.compress(b"a\n" + bytes(str(list(range(9999))), "ascii"))[:-900], {}, StageError, "cut short"),
        ("a.csv.gz", b"not gzip at all", {}, StageError, "not the compressed file"),
        ("a.csv", b'a,b\n1,"open\n2,3\n4,5\n', {}, StageError, r"never closed.*a.csv:2"),
        ("a.csv", b"a,a\n1,2\n", {}, StageError, "names a column twice"),
    ],
)  # fmt: skip
def test_unusable_sources_give_one_clear_error(tmp_path, name, data, options, kind, words):
    if data is not None:
        write_bytes(tmp_path / name, data)
    with pytest.raises(kind, match=words):
        read(tmp_path / name, **options)


def test_a_missing_file_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(UsageError):
        read_records(str(tmp_path / "no.csv"), fields={}, funnel=Funnel(), on_bad=print)


def test_memory_and_unknown_urls(tmp_path):
    import fsspec

    with fsspec.open("memory://sources/a.csv", "w", newline="") as file:
        file.write("x\n1\n")
    assert read("memory://sources/a.csv")[0] == [{"x": "1"}]
    assert read("memory://sources/*.csv")[0] == [{"x": "1"}]
    assert read((write_csv(tmp_path / "a.csv")).as_uri())[0] == ROWS
    with pytest.raises(UsageError, match="gopher"):
        read("gopher://host/a.csv")


def test_a_document_larger_than_the_csv_modules_limit(tmp_path):
    rows = [{"text": "word " * 100_000, "id": "1"}]
    assert read(write_csv(tmp_path / "a.csv", rows))[0] == rows


@given(st.text(string.printable.replace("\0", ""), max_size=60))
@example('"')
def test_tsv_cells_hold_any_text_but_tabs_and_newlines(tmp_path_factory, text):
    text = text.replace("\t", "").replace("\n", "").rstrip("\r")
    path = write_bytes(tmp_path_factory.mktemp("tsv") / "a.tsv", io.BytesIO(f"x\ty\n{text}\t1\n".encode()).read())
    assert read(path) == ([{"x": text, "y": "1"}], [])
