"""Files as people have them: each kind of oddity with the counts that are right for it."""

import bz2
import gzip
import io
import json
import lzma

import pyarrow
import pytest
from pyarrow import parquet

from components.engines.base.errors import GenworksError, StageError
from components.engines.base.funnel import Funnel
from components.engines.sources.records import read_records
from components.engines.sources.text import Reading, TextLayout

PAIRS = [(f"the cat {n} sits", f"die Katze {n} sitzt") for n in range(20)]
FIELDS = {"source": "en", "target": "de"}


def lines(pairs=PAIRS, sign=",", end="\n"):
    return "".join(f"{x}{sign}{y}{end}" for x, y in [("en", "de"), *pairs])


def objects(pairs=PAIRS, end="\n"):
    return "".join(json.dumps({"en": x, "de": y}) + end for x, y in pairs)


def rows(pairs=PAIRS):
    return [{"en": x, "de": y} for x, y in pairs]


def read(tmp_path, name, data):
    """(kept records, quarantined by reason)"""
    (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    funnel, bad = Funnel(), []
    options = {"fields": FIELDS, "required": tuple(FIELDS), "texts": tuple(FIELDS)}
    records = list(read_records(str(tmp_path / name), **options, funnel=funnel, on_bad=bad.append))
    assert len(bad) == sum(funnel.quarantined.values())
    return records, dict(funnel.quarantined)


ENCLOSED = "\n".join(f'"{x}"\t"{y}"' for x, y in [("en", "de"), *PAIRS, ("x\ty", "z")])
CSV, TSV = lines(), lines(sign="\t")


@pytest.mark.parametrize(
    ("name", "data", "kept", "quarantined"),
    [
        ("tab-in-a-quoted-cell.tsv", lines([*PAIRS, ('"a\tb"', "c")], "\t"), 21, {}),
        ("all-enclosed.tsv", ENCLOSED, 21, {}),
        ("quoted-header.tsv", TSV.replace("en\tde", '"en"\t"de"', 1), 20, {}),
        ("two-lines-in-a-cell.tsv", lines([*PAIRS, ('"a\nb"', '"c\nd"')], "\t"), 21, {}),
        ("quotes-are-text.tsv", lines([*PAIRS, ('"Hi," he said', '"Hallo'), ('"No"', "x")], "\t"), 22, {}),
        ("utf-16.csv", CSV.encode("utf-16"), 20, {}),
        ("utf-32.csv", CSV.encode("utf-32"), 20, {}),
        ("pipes.csv", lines(sign="|"), 20, {}),
        ("semicolons.csv", lines([(f"{x}, so", y) for x, y in PAIRS], ";"), 20, {}),
        ("commas.tsv", CSV, 20, {}),
        ("sep.csv", f"sep=;\r\n{lines(sign=';')}", 20, {}),
        ("carriage-returns.csv", lines(end="\r"), 20, {}),
        ("mixed-ends.csv", lines(end="\r\n") + "x,y\rz,w\n", 22, {}),
        ("line-separators-in-cells.csv", lines([("a\u2028b", "c\x85d"), ("e\x0bf", "g\x1ch")]), 2, {}),
        ("spaces.csv", 'en, de\n"a, b", "c, d"\n', 1, {}),
        ("blank-lines-first.csv", f"\n\n{CSV}", 20, {}),
        ("blank-lines-first.tsv", f"\n\n{TSV}", 20, {}),
        ("trailing-commas.csv", "en,de,\na,b,\n", 1, {}),
        ("another-behind.csv", CSV * 2, 40, {"header again": 1}),
        ("another-with-mark-behind.csv", CSV.encode("utf-8-sig") * 2, 40, {"header again": 1}),
        ("a-nul.csv", lines([*PAIRS, ("a\0b", "c")]), 20, {"no text": 1}),
        ("two-rows-swallowed.csv", 'id,en,de\n1,a,b\n2,"c,d\n3,e,f\n4,g",h\n5,i,j\n', 2, {"bad quoting": 3}),
        ("quote-within.csv", 'en,de\na,b\n"c,d\ne,f\ng"h,i\nj,k\n', 2, {"bad quoting": 3}),
        ("commas-between.jsonl", objects(end=",\n"), 20, {}),
        ("list.jsonl", json.dumps(rows()), 20, {}),
        ("lists.jsonl", f"{json.dumps(rows())}\n{json.dumps(rows())}\n", 40, {}),
        ("list-over-lines.jsonl", json.dumps(rows(), indent=1), 20, {}),
        ("no-line-ends.jsonl", objects(end=""), 20, {}),
        ("sequence.jsonl", objects().replace("{", "\x1e{"), 20, {}),
        ("another-with-mark-behind.jsonl", objects().encode("utf-8-sig") * 2, 40, {}),
        ("utf-16.jsonl", objects().encode("utf-16"), 20, {}),
        ("carriage-returns.jsonl", objects(end="\r"), 20, {}),
        ("cut.jsonl", objects()[:-12], 19, {"invalid JSON": 1}),
        ("cut-behind-another.jsonl", objects(end="")[:-12], 19, {"invalid JSON": 1}),
        ("no-text.jsonl", objects() + '{"en": 1, "de": "x"}\n{"en": ["a"], "de": "x"}\n', 20, {"no text": 2}),
        ("digits.jsonl", objects() + f'{{"en": {"9" * 5000}, "de": "x"}}\n', 20, {"invalid JSON": 1}),
        ("nul.jsonl", objects() + '{"en": "a\\u0000b", "de": "c"}\n', 20, {"no text": 1}),
        ("twice.jsonl", objects() + '{"en": "a", "de": "b", "de": "c"}\n', 20, {"invalid JSON": 1}),
        ("members.csv.gz", gzip.compress(CSV.encode()) + gzip.compress(b"x,y\n"), 21, {}),
        ("members.csv.bz2", bz2.compress(CSV.encode()) + bz2.compress(b"x,y\n"), 21, {}),
        ("members.csv.xz", lzma.compress(CSV.encode()) + bytes(4) + lzma.compress(b"x,y\n"), 21, {}),
        ("zeros-behind.csv.gz", gzip.compress(CSV.encode()) + bytes(512), 20, {}),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value and len(value) < 40 else "",
)
def test_text(tmp_path, name, data, kept, quarantined):
    records, bad = read(tmp_path, name, data)
    assert (len(records), bad) == (kept, quarantined)
    assert not any('""' in record["source"] for record in records)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", lines().replace("en", "EN", 1), r"fields: \{source: EN\}"),
        ("a.csv", lines().replace("en,de", "source,target", 1), r"fields: \{source: source\}"),
        ("a.jsonl", '{"row": {"en": "a", "de": "b"}}\n', r"fields: \{source: row\.en\}"),
        ("a.csv", CSV.encode("utf-16-le"), r"encoding=utf-16-le"),
        ("a.csv", CSV.encode("utf-16")[:-1], r"not utf-16 throughout"),
        ("a.csv", f"{CSV}{'x' * 5}{chr(0) * 40}\n", r"turns binary.*a\.csv:22"),
        ("a.csv", '"en","de"\n"a","b"\n"c","d', r"never closed.*a\.csv:3"),
        ("a.json", json.dumps(rows())[:-9], "not valid JSON"),
        ("a.csv.gz", gzip.compress(CSV.encode()) + b"x", r"end at byte \d+, and what follows is no gzip"),
        ("a.csv.bz2", bz2.compress(CSV.encode()) + b"BZ", r"end at byte \d+, and what follows is no bz2"),
        ("a.csv.gz", gzip.compress(CSV.encode())[:-4], "cut short"),
        ("a.csv.xz", lzma.compress(CSV.encode())[:-6], "cut short"),
        ("a.csv.gz", gzip.compress(gzip.compress(CSV.encode())), "is gzip, not csv text"),
        ("a.csv.gz", b"", "empty"),
    ],
)
def test_text_that_is_refused_says_what_to_do(tmp_path, name, data, said):
    with pytest.raises(GenworksError, match=said):
        read(tmp_path, name, data)


EN, DE = [x for x, _ in PAIRS], [y for _, y in PAIRS]
BROKEN = [b"\xff", *(y.encode() for y in DE[1:])]
UNTRUE = pyarrow.Array.from_buffers(pyarrow.string(), 20, pyarrow.array(BROKEN, pyarrow.binary()).buffers())
BEYOND = pyarrow.array([2**62] * 20, pyarrow.timestamp("us"))


@pytest.mark.parametrize(
    ("columns", "kept", "quarantined"),
    [
        ({"de": pyarrow.nulls(20)}, 0, {"missing field": 20}),
        ({"de": [DE[0], *[None] * 19]}, 1, {"missing field": 19}),
        ({"de": [[y] for y in DE]}, 0, {"no text": 20}),
        ({"de": [{"text": y} for y in DE]}, 0, {"no text": 20}),
        ({"de": [0.5] * 20}, 0, {"no text": 20}),
        ({"de": pyarrow.array(DE, pyarrow.large_string())}, 20, {}),
        ({"de": pyarrow.array(DE).dictionary_encode()}, 20, {}),
        ({"de": [y.encode() for y in DE]}, 20, {}),
        ({"de": BROKEN}, 19, {"broken UTF-8": 1}),
        ({"de": UNTRUE}, 19, {"broken UTF-8": 1}),
        ({"de": DE, "when": BEYOND}, 20, {}),
    ],
)
def test_parquet(tmp_path, columns, kept, quarantined):
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table({"en": EN, **columns}), buffer)
    records, bad = read(tmp_path, "a.parquet", buffer.getvalue())
    assert (len(records), bad) == (kept, quarantined)


def test_a_value_beyond_its_range_is_one_bad_record_where_every_column_is_read(tmp_path):
    table = pyarrow.table({"en": EN, "when": pyarrow.array([0] * 19 + [2**62], pyarrow.timestamp("us"))})
    parquet.write_table(table, tmp_path / "a.parquet")
    funnel = Funnel()
    records = list(read_records(str(tmp_path / "a.parquet"), fields={}, funnel=funnel, on_bad=lambda _: None))
    assert (len(records), dict(funnel.quarantined)) == (19, {"unreadable value": 1})


@pytest.mark.parametrize("page", [0, 1])
def test_a_parquet_page_with_a_checksum_is_held_to_it(tmp_path, page):
    path = tmp_path / "a.parquet"
    parquet.write_table(
        pyarrow.table({"en": EN, "de": DE}), path, write_page_checksum=True, use_dictionary=False, compression="none"
    )
    data = path.read_bytes()
    place = data.index((EN, DE)[page][7].encode())
    with pytest.raises(GenworksError, match="damaged"):
        read(tmp_path, "a.parquet", data[:place] + b"X" + data[place + 1 :])


def test_quotes_that_could_be_text_or_enclose_cells_are_asked_about(tmp_path):
    """A speech over two rows, or one cell with a tab and a line end: both readings hold together."""
    path = tmp_path / "a.tsv"
    path.write_text('en\tde\na\tb\n"Come\t„Komm\nnow"\tjetzt“\n', encoding="utf-8")
    options = {"fields": FIELDS, "required": tuple(FIELDS), "texts": tuple(FIELDS)}
    with pytest.raises(StageError, match=r"4 rows if quotes are text, and 3 if quotes enclose cells.*quoted=true"):
        list(read_records(str(path), **options, funnel=Funnel(), on_bad=[].append))
    kept = {}
    for quoted in (True, False):
        reading = Reading(TextLayout(quoted=quoted))
        kept[quoted] = list(read_records(str(path), **options, funnel=Funnel(), on_bad=[].append, reading=reading))
    assert [len(records) for records in kept.values()] == [2, 3]


@pytest.mark.parametrize(
    ("name", "data"),
    [("blank.csv", "\x0b"), ("blank.tsv", "\u2028\n \x0c\n"), ("long.tsv", "\n" + " " * 70_000 + "en\tde\n")],
)
def test_a_file_of_blanks_is_empty(tmp_path, name, data):
    with pytest.raises(StageError, match=r"empty|cannot be read"):
        read(tmp_path, name, data)


def test_a_first_line_longer_than_the_probe_is_a_header(tmp_path):
    wide = "en\tde\t" + "x" * 70_000
    assert len(read(tmp_path, "a.tsv", f"\n\n{wide}\na\tb\tc\n")[0]) == 1
