"""Files of unknown origin: each bad one has one reason, and the good ones beside it are read all the same."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from reportlab.pdfgen.canvas import Canvas

from components.engines.base.errors import BadRecord
from components.engines.documents.files import find_documents, kind_of
from components.engines.documents.markup import decode_text, read_markup
from components.engines.documents.pdf import PdfLimits, load_page, notes_on, open_pdf
from components.engines.documents.reader import PageReader, Reading

LIMITS = PdfLimits()


def printed(pages=1, size=(300, 300), change=lambda canvas: None):
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=size, pageCompression=0, invariant=1)
    change(canvas)
    for number in range(pages):
        canvas.drawString(30, 200, f"The pump on page {number + 1} costs 12 euros.")
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def reason_of(call, *arguments):
    with pytest.raises(BadRecord) as raised:
        call(*arguments)
    return raised.value.reason


@pytest.fixture
def stored(tmp_path):
    def store(data, name="a.pdf"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return store


def encrypted():
    from reportlab.lib.pdfencrypt import StandardEncryption

    buffer = io.BytesIO()
    canvas = Canvas(buffer, encrypt=StandardEncryption("secret", canPrint=0))
    canvas.drawString(30, 200, "nobody reads this")
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def without_pages():
    import pypdfium2

    buffer = io.BytesIO()
    pypdfium2.PdfDocument.new().save(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encrypted(), "encrypted PDF"),
        (printed()[:-300], "truncated PDF"),
        (b"%PDF-1.4\nrubbish\n%%EOF", "damaged PDF"),
        (without_pages(), "no pages"),
    ],
    ids=["encrypted", "truncated", "damaged", "no pages"],
)
def test_a_pdf_that_cannot_be_opened_has_one_reason(stored, data, reason):
    assert reason_of(open_pdf, stored(data), LIMITS) == reason


def test_a_header_that_promises_ten_thousand_pages_is_believed_within_limits_only(stored):
    document = open_pdf(stored(printed().replace(b"/Count 1 ", b"/Count 10000 ")), PdfLimits(max_pages=20_000))
    assert (
        reason_of(load_page, document, min(len(document), 5000) + 1 if len(document) == 1 else 5000) == "page missing"
    )
    assert reason_of(open_pdf, stored(printed(pages=4)), PdfLimits(max_pages=3)) == "too many pages"


def test_scripts_and_embedded_files_of_a_pdf_are_ignored_and_said(stored):
    script = printed().replace(
        b"/Type /Catalog",
        b"/Type /Catalog /Names << /JavaScript << /Names [(x) << /S /JavaScript /JS (app.alert\\(1\\)) >>] >> >>",
    )
    path = stored(script)
    document = open_pdf(path, LIMITS)
    assert notes_on(document) == ("JavaScript ignored",)
    assert "JavaScript ignored" in PageReader(Reading())(str(path), "pdf", 1)["page"]["notes"]


def test_a_huge_page_is_refused_and_a_large_one_drawn_at_a_lower_resolution(stored):
    from components.engines.documents.pdf import draw

    document = open_pdf(stored(printed(size=(30_000, 30_000))), LIMITS)
    assert reason_of(load_page, document, 1) == "page too large"
    document = open_pdf(stored(printed(size=(10_000, 10_000)), "b.pdf"), LIMITS)
    pixels, scale = draw(load_page(document, 1), 150, LIMITS)
    assert pixels.shape[0] * pixels.shape[1] <= LIMITS.max_picture_px
    assert scale < 1


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.pdf", b"\x89PNG\r\n\x1a\n", "wrong suffix"),
        ("a.md", b"%PDF-1.4", "wrong suffix"),
        ("a.txt", b"caf\xe9", "not UTF-8 text"),
        ("a.md", b"x" * 10_000_000, "line too long"),
        ("a.exe", b"MZ", "unknown kind of file"),
        ("a.md", b"", "empty file"),
    ],
)
def test_a_file_that_is_not_what_it_says_has_one_reason(name, data, reason):
    assert reason_of(kind_of, name, data) == reason


def test_a_picture_of_one_pixel_holds_no_page(stored):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((1, 1), np.uint8)).save(buffer, "PNG")
    assert reason_of(PageReader(Reading()), str(stored(buffer.getvalue(), "a.png")), "image", 1) == "image too small"


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_zips_are_looked_into_and_bombs_and_ways_out_refused(tmp_path):
    (tmp_path / "good.zip").write_bytes(zipped({"a.md": "# A", "b/c.txt": "text"}))
    (tmp_path / "bomb.zip").write_bytes(zipped({"zeros.txt": b"0" * 200_000_000}))
    (tmp_path / "out.zip").write_bytes(zipped({"../out.txt": "x"}))
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "two.zip").write_bytes(zipped({"in.zip": zipped({"a.txt": "x"}), "d.txt": "y"}))
    bad = {}
    found = [name for name, _ in find_documents(tmp_path, lambda name, reason: bad.update({name: reason.reason}))]
    assert found == ["good.zip/a.md", "good.zip/b/c.txt", "two.zip/d.txt"]
    assert bad == {
        "bomb.zip": "zip bomb",
        "out.zip": "unsafe name in zip",
        "broken.zip": "damaged zip",
        "two.zip/in.zip": "zip inside a zip",
    }


def test_html_is_read_without_its_scripts():
    page = read_markup(
        b"<html><head><title>t</title><script>steal()</script></head><body><h2>Pumps</h2><p>A <b>pump</b>.</p>"
        b"<table><caption>Prices</caption><tr><th>name<th>price<tr><td rowspan=2>pump<td>12<tr><td>13</table></body>",
        "html",
    )
    heading, text, table = page.blocks
    assert (heading.kind, heading.level, heading.text) == ("heading", 2, "Pumps")
    assert text.text == "A pump."
    assert table.title == "Prices"
    assert table.table.grid() == [["name", "price"], ["pump", "12"], ["pump", "13"]]
    assert page.notes == ("scripts ignored",)
    assert "steal" not in page.text


def test_a_byte_order_mark_is_no_text():
    assert decode_text("﻿a".encode()) == "a"
