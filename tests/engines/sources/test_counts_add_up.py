"""Random variants of every kind of file: each record that was written is kept or quarantined, or one clear error stops.

What is sound is read as it was written. Of what is damaged nothing is lost in silence: the counts say how much.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import tarfile

import pyarrow
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from components.engines.base.errors import GenworksError
from components.engines.base.funnel import Funnel
from components.engines.sources.captioned import read_captioned
from components.engines.sources.records import read_records
from components.engines.sources.text import Reading, TextLayout

EXAMPLES = int(os.environ.get("GENWORKS_EXAMPLES", "100"))
often = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FIELDS = {"source": "en", "target": "de"}
COMPRESS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}

texts = st.text(st.sampled_from("abü猫 .,;|\t\"'\n\u2028\x85"), min_size=1, max_size=12)
words = st.text(st.sampled_from("abcü猫 "), min_size=1, max_size=8).filter(str.strip)
encodings = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"])


def write(tmp_path_factory, name, data):
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(data)
    return path


def read(path, **layout):
    """(pairs, number quarantined), or None where one clear error stopped it."""
    funnel, bad = Funnel(), []
    reading = Reading(TextLayout(**layout))
    options = {"fields": FIELDS, "required": tuple(FIELDS), "texts": tuple(FIELDS), "reading": reading}
    try:
        found = list(read_records(str(path), **options, funnel=funnel, on_bad=bad.append))
    except GenworksError:
        return None
    assert len(bad) == funnel.seen == sum(funnel.quarantined.values())
    return [(record["source"], record["target"]) for record in found], len(bad)


def compressed(draw, parts):
    """(suffix, bytes) of parts that are members of their own."""
    suffix = draw(st.sampled_from(list(COMPRESS)))
    return suffix, b"".join(map(COMPRESS[suffix], parts))


@st.composite
def delimited(draw, rows):
    """(file name, bytes) of rows in some dialect."""
    suffix, sign = draw(st.sampled_from(["csv", "tsv"])), draw(st.sampled_from(",;\t|"))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    buffer = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    csv.writer(buffer, delimiter=sign, lineterminator=end, quoting=quoting).writerows([("en", "de"), *rows])
    text = end * draw(st.integers(0, 2)) + buffer.getvalue()
    data = (text.removesuffix(end) if draw(st.booleans()) else text).encode(draw(encodings))
    cut = draw(st.integers(0, len(data)))
    more, packed = compressed(draw, [data[:cut], data[cut:]])
    return f"a.{suffix}{more}", packed


def _holds_rows(row):
    """Whether several lines of its cells have a delimiter each, as rows have."""
    return sum(any(sign in line for sign in ",;\t|") for line in "\n".join(row).split("\n")) > 1


@often
@given(st.data(), st.lists(st.tuples(texts, texts), min_size=1, max_size=8))
def test_whatever_spreadsheets_write_comes_back(tmp_path_factory, data, rows):
    assume(all(x.strip() or y.strip() for x, y in rows))
    """Where quotes could be text as well, one says so; lines in a cell that look like rows are counted, not taken for a text."""
    name, content = data.draw(delimited(rows))
    path = write(tmp_path_factory, name, content)
    found = read(path)
    if found is None:
        assert name.startswith("a.tsv")
        found = read(path, quoted=True)
    pairs, bad = found
    lost = [row for row in rows if row not in pairs]
    assert pairs == [row for row in rows if row not in lost]
    assert all(_holds_rows(row) for row in lost)
    assert bad == 0 if not lost else bad >= len(lost)


@often
@given(st.data(), st.integers(12, 30), st.sampled_from(",;\t|"), st.booleans())
def test_rows_that_a_stray_quote_swallows_are_counted(tmp_path_factory, data, length, sign, enclosed):
    """A quote before a cell, and one behind another cell some rows later (fewer than three rows may be one text)."""
    rows = [[f"a {n}", f"b {n}"] for n in range(length)]
    first = data.draw(st.integers(0, length - 4))
    last = data.draw(st.integers(first + 3, length - 1))
    marks = [(first, '"', ""), (last, "", '"')] if data.draw(st.booleans()) else [(first, '"', "")]
    for row, before, behind in marks:
        column = data.draw(st.integers(0, 1))
        rows[row][column] = before + rows[row][column] + behind
    quote = '"' if enclosed else ""
    text = f"en{sign}de\n" + "".join(sign.join(f"{quote}{cell}{quote}" for cell in row) + "\n" for row in rows)
    found = read(write(tmp_path_factory, "a.csv", text.encode()))
    if found is not None:
        pairs, bad = found
        assert len(pairs) + bad == length
        assert all(pair in [tuple(row) for row in rows] for pair in pairs)


@often
@given(st.data(), st.lists(st.tuples(words, words), min_size=2, max_size=12), st.sampled_from(["csv", "tsv"]))
def test_damaged_rows_are_counted(tmp_path_factory, data, rows, suffix):
    """A byte that is no UTF-8, a cell too many or too few, a NUL, a file behind another, a line without its end."""
    sign = {"csv": ",", "tsv": "\t"}[suffix]
    lines = [sign.join(row).encode() for row in rows]
    hit = data.draw(st.integers(0, len(rows) - 1))
    lines[hit] = data.draw(
        st.sampled_from([b"\xff" + lines[hit], lines[hit] + sign.encode() + b"x", b"x", b"\0" + lines[hit], lines[hit]])
    )
    header, times = sign.join(("en", "de")).encode(), data.draw(st.integers(1, 3))
    mark = b"\xef\xbb\xbf" if data.draw(st.booleans()) else b""
    content = (mark + b"\n".join([header, *lines]) + b"\n") * times
    found = read(write(tmp_path_factory, f"a.{suffix}", content))
    assert found is None or len(found[0]) + found[1] == times * len(rows) + times - 1


values = st.one_of(
    words, st.none(), st.integers(), st.floats(), st.lists(words, max_size=2), st.dictionaries(words, words)
)
records = st.lists(st.fixed_dictionaries({"en": values, "de": values}), min_size=1, max_size=8)


@st.composite
def json_file(draw, rows):
    """(file name, text without its last end) of objects in some layout."""
    end = draw(st.sampled_from(["\n", "\r\n", ",\n", "\n\n", "", " "]))
    compact = [json.dumps(row, ensure_ascii=draw(st.booleans())) for row in rows]
    layouts = {
        "a.jsonl": end.join(compact),
        "b.jsonl": json.dumps(rows),
        "c.jsonl": "[\n" + ",\n".join(compact) + "\n]",
        "d.jsonl": "\n".join(f"[{row}]" for row in compact),
        "a.json": json.dumps(rows, indent=draw(st.sampled_from([None, 1]))),
        "b.json": json.dumps({"version": 1, "data": rows}),
    }
    name = draw(st.sampled_from(sorted(layouts)))
    return name, layouts[name]


@often
@given(st.data(), records, encodings)
def test_json_of_every_layout(tmp_path_factory, data, rows, encoding):
    name, text = data.draw(json_file(rows))
    suffix, content = compressed(data.draw, [text.encode(encoding)])
    found = read(write(tmp_path_factory, name + suffix, content))
    sound = [(row["en"], row["de"]) for row in rows if isinstance(row["en"], str) and isinstance(row["de"], str)]
    broken = "NaN" in text or "Infinity" in text  # no JSON: the rest of such a line, or such a file, cannot be read
    if found is None:
        assert broken
        assert not name.startswith(("a.jsonl", "b.jsonl", "d.jsonl"))
    elif not broken:
        assert found == (sound, len(rows) - len(sound))


@often
@given(st.data(), st.lists(st.tuples(words, words), min_size=1, max_size=8))
def test_json_lines_cut_anywhere(tmp_path_factory, data, rows):
    lines = [json.dumps({"en": x, "de": y}).encode() for x, y in rows]
    cut = data.draw(st.integers(1, len(lines[-1]) - 1))
    found = read(write(tmp_path_factory, "a.jsonl", b"\n".join([*lines[:-1], lines[-1][:cut]])))
    assert found == (rows[:-1], 1)


@often
@given(st.data(), st.lists(st.tuples(words, words), min_size=1, max_size=30), st.sampled_from([".gz", ".bz2", ".xz"]))
def test_compressed_files_that_are_cut_or_have_something_behind_are_refused(tmp_path_factory, data, rows, suffix):
    content = COMPRESS[suffix](("en,de\n" + "".join(f"{x},{y}\n" for x, y in rows)).encode())
    cut = data.draw(st.integers(0, len(content) - 1))
    behind = data.draw(st.binary(min_size=1, max_size=8).filter(lambda data: data.strip(b"\0")))
    assert read(write(tmp_path_factory, f"a.csv{suffix}", content[:cut])) is None
    assert read(write(tmp_path_factory, f"a.csv{suffix}", content + behind)) is None


kinds = {
    "text": (pyarrow.string(), words),
    "long": (pyarrow.large_string(), words),
    "bytes": (pyarrow.binary(), st.one_of(words.map(str.encode), st.binary(max_size=4))),
    "list": (pyarrow.list_(pyarrow.string()), st.lists(words, max_size=2)),
    "nested": (pyarrow.struct({"text": pyarrow.string()}), st.fixed_dictionaries({"text": words})),
    "number": (pyarrow.float64(), st.floats()),
}


def is_text(value):
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8-sig")
        except UnicodeDecodeError:
            return False
    return isinstance(value, str) and "\0" not in value


@often
@given(st.data(), st.integers(1, 12))
def test_parquet_of_every_type(tmp_path_factory, data, length):
    columns = {}
    for name in FIELDS.values():
        kind, cells = kinds[data.draw(st.sampled_from(sorted(kinds)))]
        columns[name] = pyarrow.array(data.draw(st.lists(st.none() | cells, min_size=length, max_size=length)), kind)
    path = write(tmp_path_factory, "a.parquet", b"")
    parquet.write_table(
        pyarrow.table(columns),
        path,
        row_group_size=data.draw(st.integers(1, 12)),
        use_dictionary=data.draw(st.booleans()),
    )
    cells = zip(columns["en"].to_pylist(), columns["de"].to_pylist(), strict=True)
    sound = sum(is_text(x) and is_text(y) for x, y in cells)
    pairs, bad = read(path)
    assert (len(pairs), bad) == (sound, length - sound)


keys = st.lists(
    st.text(st.sampled_from("abAB01_-ü .x"), min_size=1, max_size=12).filter(lambda key: key.strip(". ") == key),
    min_size=1,
    max_size=6,
    unique=True,
)


def packed(members, format, order):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for name, content in order(members):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def captioned(path):
    funnel, bad = Funnel(), []
    try:
        found = list(read_captioned(str(path), fields={}, max_bytes=1000, funnel=funnel, on_bad=bad.append))
    except GenworksError:
        return None
    assert len(bad) == sum(funnel.quarantined.values())
    return sorted((one.image, one.caption) for one in found), len(bad)


@often
@given(st.data(), keys)
def test_tars_of_every_order_and_making(tmp_path_factory, data, keys):
    """Names with dots, in folders, with `./`; captions as text or JSON; formats of headers; what macOS adds; one tar or two."""
    folder = data.draw(st.sampled_from(["", "./", "deep/er/", "d" * 120 + "/"]))
    members, sound = [], []
    for number, key in enumerate(keys):
        image, caption = b"%d" % number, f"caption {number}"
        extension = data.draw(st.sampled_from(["jpg", "PNG", "webp", "tiff"]))
        told = {"txt": caption.encode(), "json": json.dumps({"caption": caption}).encode()}
        ending = data.draw(st.sampled_from(["txt", "json"]))
        members.append([(f"{folder}{key}.{extension}", image), (f"{folder}{key}.{ending}", told[ending])])
        sound.append((image, caption))
    format = data.draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
    apart = data.draw(st.integers(0, len(members)))
    tars = []
    for part in (members[:apart], members[apart:]):
        flat = [member for sample in part for member in sample]
        flat += [(f"{folder}._{keys[0]}.jpg", b"x")] * data.draw(st.integers(0, 1))
        tars.append(packed(flat, format, lambda flat: data.draw(st.permutations(flat))))
    suffix, content = compressed(data.draw, tars)
    assert captioned(write(tmp_path_factory, f"a.tar{suffix}", content)) == (sorted(sound), 0)


@often
@given(st.data(), st.integers(1, 5))
def test_damaged_samples_are_counted(tmp_path_factory, data, length):
    """Without picture or caption, doubled, links, unsafe names, too large, no UTF-8, broken JSON."""
    members, sound, written = [], 0, 0
    for number in range(length):
        key, damage = (
            f"k{number}",
            data.draw(st.sampled_from(["none", "picture", "caption", "twice", "up", "large", "text"])),
        )
        image, text = (f"{key}.jpg", b"p"), (f"{key}.txt", b"\xff" if damage == "text" else b"c")
        image = (image[0], bytes(2000)) if damage == "large" else image
        sample = [one for one, kind in ((image, "picture"), (text, "caption")) if kind != damage]
        sample = [(f"../{name}", content) for name, content in sample] if damage == "up" else sample
        members += sample * (2 if damage == "twice" else 1)
        written += 2 if damage == "twice" else 1
        sound += damage == "none"
    tar = packed(members, tarfile.PAX_FORMAT, lambda members: data.draw(st.permutations(members)))
    found, bad = captioned(write(tmp_path_factory, "a.tar", tar))
    assert (len(found), bad) == (sound, written - sound)


@often
@given(st.data(), st.integers(1, 5))
def test_a_tar_cut_anywhere_is_refused(tmp_path_factory, data, length):
    members = [(f"k{n}.{kind}", b"x" * 600) for n in range(length) for kind in ("jpg", "txt")]
    tar = packed(members, tarfile.PAX_FORMAT, lambda members: members)
    end = len(members) * 3 * 512  # what follows are zeros
    found = captioned(write(tmp_path_factory, "a.tar", tar[: data.draw(st.integers(0, end))]))
    assert found is None
