"""Suites of expectations: pass and failure, what a failure tells, and a report that is self-contained and repeatable."""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas
import pytest

from components.engines.base.errors import StageError
from components.engines.checks import expect
from components.engines.checks.suite import check

ROWS = pandas.DataFrame(
    {
        "source": ["a b", "c", "d e f", "g", None, "i", "<script>alert('x')</script>"],
        "target": ["A B", "C", "D E F", "G", "H", "C", "J"],
        "length": [2, 1, 3, 1, 1, 1, 400],
        "split": ["train"] * 5 + ["test"] * 2,
    },
    index=[10, 11, 12, 13, 14, 15, 16],
)
PASSING = {
    "columns": lambda: expect.columns_are("source", "target"),
    "rows": lambda: expect.row_count_between(1, 100),
    "not null": lambda: expect.column_not_null("source", mostly=0.8),
    "compound": lambda: expect.compound_unique("source", "target"),
    "between": lambda: expect.values_between("length", 1, 400),
    "lengths": lambda: expect.lengths_between("target", 1, 5),
    "in": lambda: expect.values_in("split", ["train", "test"]),
    "not in": lambda: expect.values_not_in("split", ["dev"]),
    "match": lambda: expect.values_match("target", "^[A-Z ]+$", notes="upper case"),
    "not match": lambda: expect.values_not_match("target", "[0-9]"),
    "mean": lambda: expect.mean_between("length", 1, 100),
    "median": lambda: expect.median_between("length", 1, 1),
    "stdev": lambda: expect.stdev_between("length", 1),
    "share": lambda: expect.distinct_share_between("target", 0.5),
    "distinct": lambda: expect.distinct_values_are("split", ["train", "test"]),
    "unique": lambda: expect.unique("source"),
}
FAILING = {
    "columns": (lambda: expect.columns_are("source", exactly=True), "column"),
    "rows": (lambda: expect.row_count_between(100), "row_count.*min_value=100.*observed 7"),
    "not null": (lambda: expect.column_not_null("source"), r"not_be_null of source.*1 of 7.*row 4: source=(None|nan)"),
    "compound": (lambda: expect.compound_unique("target", "split", "length"), None),
    "unique": (lambda: expect.unique("target"), r"2 of 7 rows.*\n    row 1: target='C', source='c'.*\n    row 5:"),
    "between": (lambda: expect.values_between("length", 1, 10), r"of length \(.*max_value=10.*row 6: length=400"),
    "match": (lambda: expect.values_match("target", "^[A-C ]+$"), r"4 of 7"),
    "mean": (lambda: expect.mean_between("length", 0, 2), r"mean.*observed 58\.4286"),
    "distinct": (
        lambda: expect.distinct_values_are("split", ["train"]),
        r"observed \{'unexpected': \['test'\]",
    ),
    "pair": (lambda: expect.pair_greater("length", "length"), None),
    "no column": (lambda: expect.column_not_null("sorce"), r"sorce.*columns found: source, target, length, split"),
}


def test_sound_rows_pass(tmp_path):
    summary = check(
        ROWS, [make() for make in PASSING.values()], name="pairs", html=tmp_path / "c.html", result=tmp_path / "c.json"
    )
    assert (summary.rows, summary.evaluated, summary.successful) == (7, len(PASSING), len(PASSING))
    assert json.loads((tmp_path / "c.json").read_text())["success"] is True
    page = (tmp_path / "c.html").read_text()
    assert "upper case" in page
    assert "Succeeded" in page
    assert "fa-times" not in page


def test_page_renders_without_a_word_of_trouble(tmp_path, caplog):
    """Great Expectations logs an error and leaves a hole in the page where its renderer fails."""
    for case, (make, _) in FAILING.items():
        with pytest.raises(StageError):
            check(pandas.concat([ROWS, ROWS.tail(1)]), [make()], name=case, html=tmp_path / "c.html")
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]


@pytest.mark.parametrize("case", FAILING)
def test_a_failure_names_what_where_and_which_rows(tmp_path, case):
    make, words = FAILING[case]
    rows = pandas.concat([ROWS, ROWS.tail(1)]) if case in ("compound", "pair") else ROWS
    with pytest.raises(StageError) as failure:
        check(
            rows,
            [make(), expect.row_count_between(1)],
            name="pairs",
            html=tmp_path / "c.html",
            result=tmp_path / "c.json",
        )
    message = str(failure.value)
    assert "Checks pairs failed, 1 of 2" in message
    assert message.count("\n    row ") <= 5
    if words:
        assert re.search(words, message, re.DOTALL), message
    assert "Failed" in (tmp_path / "c.html").read_text()
    assert json.loads((tmp_path / "c.json").read_text())["success"] is False


def test_report_is_self_contained_and_escapes_cells(tmp_path):
    with pytest.raises(StageError):
        check(ROWS, [expect.values_match("source", "^[a-z ]+$")], name="pairs", html=tmp_path / "c.html")
    page = (tmp_path / "c.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert('x')" in page
    for outside in ("http:", "https:", "src=", "<link", "../"):
        assert outside not in page


def test_equal_input_gives_equal_bytes_in_another_process(tmp_path):
    code = textwrap.dedent("""
        import sys; from pathlib import Path
        import pandas
        from components.engines.base.errors import StageError
        from components.engines.checks import expect
        from components.engines.checks.suite import check
        rows = pandas.DataFrame({"x": ["a", "b", "a", None], "y": [1.5, 2, 3, 4]})
        suite = [expect.unique("x"), expect.values_in("x", ["a"]), expect.mean_between("y", 0, 1), expect.column_not_null("z"),
                 expect.distinct_values_are("x", ["c"]), expect.row_count_between(9)]
        folder = Path(sys.argv[1])
        try:
            check(rows, suite, name="same", html=folder / "c.html", result=folder / "c.json")
        except StageError as error:
            (folder / "message").write_text(str(error))
    """)
    root = Path(__file__).parents[3]
    folders = [tmp_path / "one", tmp_path / "other" / "deeper"]
    for folder in folders:
        folder.mkdir(parents=True)
        done = subprocess.run(
            [sys.executable, "-c", code, folder], check=True, cwd=root, capture_output=True, text=True
        )
        assert not done.stdout  # no progress bars
        assert "Calculating" not in done.stderr
    for name in ("c.html", "c.json", "message"):
        first, second = ((folder / name).read_bytes() for folder in folders)
        assert first == second
        assert b"/work" not in first
        assert b"site-packages" not in first


def test_no_rows_are_no_success(tmp_path):
    with pytest.raises(StageError, match="no rows"):
        check(ROWS.head(0), [expect.column_not_null("source")], name="pairs", html=tmp_path / "c.html")


def test_rooms_do_not_pay_for_the_import():
    code = "import sys; from components.engines.checks import expect, suite; print('great_expectations' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3], capture_output=True, text=True
    )
    assert done.stdout.strip() == "False"
