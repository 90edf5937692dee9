"""Printed pages are read as they were printed: text in its order, each table once with its title, merged cells kept."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.engines.documents.ocr import _hull, _run_down, _skew, _straight, _turned
from components.engines.documents.page import Cell, Line, Page, Table
from components.engines.documents.quality import adjacencies, bag_errors, character_errors, edits, f1, structure_counts
from components.engines.documents.reader import PageReader, Reading
from components.engines.documents.segments import in_reading_order, segments_of
from components.engines.documents.tables import aligned_tables, find_tables
from components.rag.world.printer import Printer, grouped_table, plain_table
from components.rag.world.scanner import Scan, scan

PARAGRAPH = (
    "The pump costs 80 euros. It weighs 9 kilograms, and whoever buys two gets a third for nothing at all, "
    "whatever the season and however long the queue may be."
)
GROUPED = grouped_table(
    "use",
    "figures",
    ["name", "price", "weight"],
    [("indoor", [["lamp", "12", "3"], ["fan", "15", "4"]]), ("outdoor", [["pump", "80", "9"]])],
)
PLAIN = plain_table(["name", "price", "weight"], [["lamp", "12", "3"], ["fan", "15", "4"], ["pump", "80", "9"]])


@pytest.fixture(scope="module")
def reader():
    return PageReader(Reading())


def read(reader, tmp_path, data, number=1):
    path = tmp_path / "a.pdf"
    path.write_bytes(data)
    reader._open = ("", None)
    return Page.from_dict(reader(str(path), "pdf", number)["page"])


def printed(table=None, ruled=True):
    printer = Printer("test")
    printer.heading("Pumps and lamps")
    printer.paragraph(PARAGRAPH)
    if table:
        printer.table("Table 1: Prices", table, ruled=ruled)
    printer.paragraph("Thank you for reading with care.")
    return printer.finish(), printer.pages[0]


@pytest.mark.parametrize(
    ("table", "ruled"), [(PLAIN, True), (GROUPED, True), (PLAIN, False)], ids=["ruled", "merged", "unruled"]
)
def test_a_table_is_there_once_with_its_title_and_its_cells(reader, tmp_path, table, ruled):
    data, _truth = printed(table, ruled)
    page = read(reader, tmp_path, data)
    (found,) = [block for block in page.blocks if block.kind == "table"]
    assert found.title == "Table 1: Prices"
    assert f1(*structure_counts([found.table], [table])) == 1.0
    assert page.source == "text layer"
    others = " ".join(block.text for block in page.blocks if block.kind != "table")
    assert "lamp 12" not in others
    assert "Prices" not in others
    assert [block.kind for block in page.blocks] == ["heading", "text", "table", "text"]


def test_a_turned_noisy_scan_is_read_upright(reader, tmp_path):
    data, truth = printed()
    page = read(reader, tmp_path, scan(data, [Scan(turned=90, skew=1.5, noise=0.03)], 0))
    wrong, total = character_errors(page.text, truth.text)
    assert page.source == "ocr"
    assert wrong <= 0.03 * total
    assert page.turned == 270
    assert page.skew != 0
    assert page.height > page.width


def test_a_text_layer_of_signs_that_stand_for_nothing_is_not_believed():
    from components.engines.documents.textlayer import why_not

    class Of:
        chars = [{"upright": True}] * 50

    def words(text):
        return [Line(word, (0, 0, 1, 1), 10) for word in text.split()]

    assert why_not(Of, words("the pump costs eighty euros in all shops")) is None
    assert why_not(Of, words("the \ue001\ue002\ue003 \ue004\ue005 costs")) == "unreadable"
    assert why_not(Of, words("xkcd zqrt plmb wwrt bcdf ghjk lmnp qrst vwxz bnmk trwq")) == "unreadable"
    assert why_not(Of, []) == "missing"


def line(text, x, y, size=10.0):
    return Line(text, (x, y, x + 5.0 * len(text), y + size), size)


def test_columns_of_prose_are_read_one_after_the_other_and_are_no_table():
    words = []
    for row in range(8):
        for column, side in enumerate(("left", "right")):
            x = 40 + 300 * column
            for word in f"{side} column with number {row} of lines".split():
                words.append(line(word, x, 50 + 14 * row))
                x += 5 * len(word) + 4
    rows = in_reading_order(segments_of(words))
    said = [" ".join(segment.text for segment in row) for row in rows]
    assert [text.split()[0] for text in said] == ["left"] * 8 + ["right"] * 8
    assert aligned_tables(words) == []


@pytest.mark.parametrize("below", [True, False])
@pytest.mark.parametrize("above", [True, False])
def test_columns_between_lines_over_the_whole_width_are_read_one_after_the_other(above, below):
    wide = " ".join(["across"] * 14)
    words = [line(f"top {number} {wide}", 40, 40 + 12 * number) for number in range(4)] if above else []
    for side, x in (("left", 40), ("right", 310)):
        words += [line(f"{side} {number} of some twenty letters", x, 110 + 12 * number) for number in range(6)]
    words += [line(f"end {number} {wide}", 40, 200 + 12 * number) for number in range(4)] if below else []
    rows = in_reading_order(segments_of(words))
    told = [" ".join(segment.text for segment in row).split()[:2] for row in rows]
    parts = [("top", 4)] * above + [("left", 6), ("right", 6)] + [("end", 4)] * below
    assert told == [[name, str(number)] for name, count in parts for number in range(count)]


def test_no_word_belongs_to_two_tables():
    words = [line(text, x, y) for y in range(100, 200, 14) for x, text in ((50, "name"), (150, "12"), (250, "34"))]
    found = find_tables(words, [])
    assert len(found) == 1
    assert len(found[0][1].cells) == len(words)


@given(st.text("abc ", max_size=12), st.text("abc ", max_size=12))
def test_edits_are_levenshteins(one, other):
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i in range(len(one) + 1):
        for j in range(len(other) + 1):
            if not i or not j:
                table[i][j] = i + j
            else:
                table[i][j] = min(
                    table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (one[i - 1] != other[j - 1])
                )
    assert edits(one, other) == table[-1][-1]


def test_bag_errors_count_words_in_any_order():
    assert bag_errors("costs the  pump", "the pump cost 12") == (2, 4)


def test_a_merged_cell_has_several_neighbours_and_empty_ones_are_looked_through():
    table = Table(
        (Cell(0, 0, "a", 1, 2), Cell(1, 0, "b"), Cell(1, 1, "c"), Cell(2, 0, ""), Cell(2, 1, "e"), Cell(3, 0, "d"))
    )
    assert set(adjacencies(table)) == {
        ("a", "b", "below"),
        ("a", "c", "below"),
        ("b", "c", "right"),
        ("c", "e", "below"),
        ("b", "d", "below"),
    }
    assert f1(*structure_counts([table], [table])) == 1.0
    assert f1(*structure_counts([], [table])) == 0.0


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_points_of_a_turned_page_go_where_its_picture_goes(degrees):
    pixels = np.zeros((30, 50), np.uint8)
    pixels[4:8, 10:22] = 255
    turned = np.rot90(pixels, -degrees // 90)
    ys, xs = np.nonzero(turned)
    corners = np.array([[10, 4], [22, 4], [22, 8], [10, 8]], float)
    assert _hull(_turned(corners, degrees, 50, 30)) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


def test_skew_is_found_and_mended():
    angle = np.radians(2.0)
    lines = [
        np.array(
            [[x, y + dx * np.tan(angle)] for x, dx in ((50, 0), (450, 400))]
            + [[450, y + 12 + 400 * np.tan(angle)], [50, y + 12]]
        )
        for y in (100, 200, 300)
    ]
    skew = _skew(lines)
    assert skew == pytest.approx(2.0, abs=0.1)
    top_left, top_right = _straight(lines[0], skew, 500, 400)[:2]
    assert top_left[1] == pytest.approx(top_right[1], abs=0.5)


def test_which_way_a_page_lies_is_told_by_most_of_its_lines():
    wide, tall = (np.array([[[0, 0], [x, 0], [x, y], [0, y]]] * 3, float) for x, y in ((90, 10), (10, 90)))
    assert not _run_down(wide)
    assert _run_down(tall)
    assert not _run_down(np.concatenate([wide, tall[:1]]))


@pytest.mark.parametrize("turned", [90, 180, 270])
@pytest.mark.parametrize("noise", [0.02, 0.06])
def test_noisy_small_print_is_read_upright_whichever_way_it_lay(reader, tmp_path, turned, noise):
    """RapidOCR's own classifier took these pages for upright ones."""
    data, truth = printed()
    page = read(reader, tmp_path, scan(data, [Scan(turned, -1.0, noise, 50)], 0))
    assert page.turned == 360 - turned
    wrong, total = character_errors(page.text, truth.text)
    assert wrong / total < 0.02


def test_equal_pages_give_equal_pictures(reader, tmp_path):
    data, _ = printed()
    path = tmp_path / "a.pdf"
    path.write_bytes(data)
    one, other = (PageReader(Reading())(str(path), "pdf", 1)["jpg"] for _ in range(2))
    assert one == other
    from PIL import Image

    assert Image.open(io.BytesIO(one)).size == (595, 842)
