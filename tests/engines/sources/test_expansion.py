"""Files that hold far more than they seem to: refused, or read in bounded memory, with the limit that was met."""

import gzip
import io
import tracemalloc

import pyarrow
import pytest
from pyarrow import parquet

from components.engines.base.errors import StageError
from components.engines.base.funnel import Funnel
from components.engines.sources import formats, unpacking
from components.engines.sources.records import read_records
from components.engines.sources.text import Reading, TextLayout

READING = Reading(TextLayout(max_record_bytes=100_000))


def read(path):
    funnel = Funnel()
    records = sum(1 for _ in read_records(str(path), fields={}, reading=READING, funnel=funnel, on_bad=lambda _: None))
    return records, dict(funnel.quarantined)


@pytest.mark.parametrize(
    ("name", "before", "behind"),
    [
        ("a.csv", b"x,y\n1,2\n", b",2\n3,4\n"),
        ("a.tsv", b"x\ty\n1\t2\n", b"\t2\n3\t4\n"),
        ("a.jsonl", b'{"x": "1"}\n{"x": "', b'"}\n{"x": "3"}\n'),
    ],
)
def test_a_line_beyond_the_limit_is_one_bad_record_and_never_held(tmp_path, name, before, behind):
    (tmp_path / name).write_bytes(before + b"a" * 20_000_000 + behind)
    tracemalloc.start()
    try:
        assert read(tmp_path / name) == (2, {"record too long": 1})
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content", [b"x,y\n" + b"a" * 20_000_000, b"x,y\n1,2\n" + b"\n" * 8_000_000])
def test_what_unpacks_to_far_more_than_its_size_is_refused(tmp_path, monkeypatch, content):
    monkeypatch.setattr(unpacking, "FLOOR_BYTES", 1 << 20)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(content))
    with pytest.raises(StageError, match=r"unpacks to more than 250 times its size.*unpack it yourself"):
        read(tmp_path / "a.csv.gz")


def test_a_parquet_column_that_unpacks_to_far_more_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "FLOOR_BYTES", 1 << 20)
    buffer = io.BytesIO()
    table = pyarrow.table({"x": ["1"] * 300, "other": ["a" * 100_000] * 300})
    parquet.write_table(table, buffer, compression="zstd", use_dictionary=False)
    (tmp_path / "a.parquet").write_bytes(buffer.getvalue())
    with pytest.raises(StageError, match=r"Column 'other' unpacks to \d+ MiB, more than 250 times"):
        read(tmp_path / "a.parquet")
