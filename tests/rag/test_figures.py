"""Figures are found by what they show: a picture on a page is cut out, described, and stands in a chunk with its title."""

import io

import numpy as np
import pytest
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from components.engines.base.paths import read_jsonl
from components.engines.base.stage import StageContext
from components.engines.documents.figures import described
from components.engines.documents.page import Block, Page
from components.engines.generation import captioner
from components.engines.generation.captioner import ImageCaptioner
from components.engines.generation.text import Generated
from components.rag.chunk import Chunk, chunk
from components.rag.ingest import Ingest, ingest
from components.rag.parse import Parse, parse

COLOURS = {"red": (200, 20, 20), "blue": (20, 20, 200), "green": (20, 160, 20)}


def hue(picture):
    mean = np.asarray(picture).reshape(-1, 3).mean(0)
    return min(COLOURS, key=lambda name: np.abs(mean - COLOURS[name]).sum())


def page_of(number, *figures, width=200.0, scale=0.5):
    """A page with a rectangle of a colour for each (colour, box in points), and its picture at `scale` pixels a point."""
    blocks = [Block("text", "Some words.", (0, 0, 50, 10))]
    picture = Image.new("RGB", (round(width * scale), round(300 * scale)), "white")
    for name, box in figures:
        picture.paste(COLOURS[name], tuple(round(side * scale) for side in box))
        blocks.append(Block("figure", "", box, title=f"Figure of {name}"))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95)
    return Page(number, width, 300.0, "ocr", tuple(blocks)), file.getvalue()


def test_each_figure_is_described_by_its_own_part_of_its_pages_picture():
    asked = []

    def describe(pictures):
        asked.append([one.size for one in pictures])
        return [hue(one) for one in pictures]

    first = page_of(1, ("red", (20, 20, 100, 80)), ("blue", (20, 120, 180, 200)))
    second = page_of(2, ("green", (40, 40, 120, 140)), scale=2.0)
    pages = described([first, page_of(3), second], describe)
    told = [[(block.title, block.text) for block in page.blocks if block.kind == "figure"] for page in pages]
    assert told == [[("Figure of red", "red"), ("Figure of blue", "blue")], [], [("Figure of green", "green")]]
    assert asked == [[(40, 30), (80, 40), (160, 200)]]  # in one call
    assert [page.blocks[0] for page in pages] == [first[0].blocks[0]] * 3


def test_what_has_no_picture_or_is_too_small_stays_as_it_was():
    page, _ = page_of(1, ("red", (20, 20, 100, 80)))
    dot = page_of(2, ("red", (20, 20, 30, 30)))
    assert described([(page, b""), dot], lambda _: pytest.fail("nothing to describe")) == [page, dot[0]]


def test_figures_of_a_pdf_are_described_by_the_captioner_of_the_params(tmp_path, monkeypatch):
    class Double(ImageCaptioner):
        @classmethod
        def load(cls, folder):
            assert folder == "the captioner"
            return cls.__new__(cls)

        def to(self, device):
            return self

        def caption(self, pictures, decoding, *, batch_size=32, seed=0, scored=True):
            return [Generated(f"a {hue(one)} area", 0.0, [], True) for one in pictures]

    monkeypatch.setattr(captioner, "ImageCaptioner", Double)
    source = tmp_path / "library"
    source.mkdir()
    canvas = Canvas(str(source / "plan.pdf"))
    canvas.drawString(72, 760, "The works are drawn below.")
    canvas.drawImage(ImageReader(Image.new("RGB", (60, 60), COLOURS["blue"])), 72, 500, 200, 150)
    canvas.drawString(72, 480, "Figure 1: The new hall")
    canvas.save()
    documents, parsed = tmp_path / "documents", tmp_path / "parsed"
    ingest(Ingest(source=str(source)), documents)
    work = tmp_path / "work"
    work.mkdir()
    context = StageContext("rag", "parse", "key", work, tmp_path, {}, {})
    parse(Parse(), context, documents, parsed, tmp_path / "parsing.json")
    for params, told in (
        (Chunk(), "Figure 1: The new hall"),
        (Chunk(captioner="the captioner"), "Figure 1: The new hall\na blue area"),
    ):
        chunks = tmp_path / f"chunks-{params.captioner}"
        chunk(params, documents, parsed, chunks)
        rows = [row for path in chunks.glob("*.jsonl") for row in read_jsonl(path)]
        assert [row["text"] for row in rows if row["kind"] == "figure"] == [told]
