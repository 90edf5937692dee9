"""Real PDFs: characters, tables beside pdfplumber, camelot and img2table, pages a second beside bare RapidOCR, memory.

GENWORKS_PDFS names a folder laid out as SOURCE.md beside its manifest.csv tells (default: ../shared/data/pdf). On request.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from components.engines.base.errors import BadRecord
from components.engines.documents.guard import Guarded, PageCaps
from components.engines.documents.page import Cell, Page, Table
from components.engines.documents.quality import bag_errors, character_errors, f1, structure_counts
from components.engines.documents.reader import PageReader, Reading

FOLDER = Path(os.environ.get("GENWORKS_PDFS", "../shared/data/pdf"))
PAGES_OF_A_LONG_ONE = 1_000


def run(repeats: int) -> list[dict[str, Any]]:
    return [*tables(), *characters(), *speed(), *memory()]


def tables() -> list[dict[str, Any]]:
    """Structure F1 (cell adjacency, ICDAR 2013) of each document, mean over documents, and pooled over all relations."""
    files = sorted((FOLDER / "icdar2013_tables").glob("*.pdf"))
    true = [_annotated(path.with_name(f"{path.stem}-str.xml")) for path in files]
    finders: dict[str, Callable[[Path], list[Table]]] = {
        "ours": _ours,
        "pdfplumber": _pdfplumber,
        "camelot lattice": partial(_camelot, "lattice"),
        "camelot stream": partial(_camelot, "stream"),
        "img2table": _img2table,
    }
    figures = {}
    for name, find in finders.items():
        counts = [structure_counts(_found(find, path), tables) for path, tables in zip(files, true, strict=True)]
        pooled = f1(*(sum(column) for column in zip(*counts, strict=True)))
        figures[name] = (float(np.mean([f1(*one) for one in counts])), pooled)
    rows = []
    for name in list(figures)[1:]:
        for place, how in enumerate(("mean over documents", "pooled")):
            ours, theirs = figures["ours"][place], figures[name][place]
            rows.append(
                {
                    "name": f"table F1, {how}: ours / {name}",
                    "ours": ours,
                    "theirs": theirs,
                    "ratio": ours / theirs,
                    "bar": 1.0,
                }
            )
    return rows


def _found(find: Callable[[Path], list[Table]], path: Path) -> list[Table]:
    try:
        return find(path)
    except ImportError:
        raise  # a peer that is not installed has not failed: `make .venv/.bench`
    except Exception as error:  # a peer that fails on a file has found nothing in it
        print(f"  {path.name}: {type(error).__name__}: {error}")
        return []


def _annotated(path: Path) -> list[Table]:
    made = []
    for table in ElementTree.parse(path).getroot().iter("table"):
        cells = []
        for region in table.iter("region"):
            down, right = int(region.get("row-increment", 0)), int(region.get("col-increment", 0))
            for cell in region.iter("cell"):
                row, column = int(cell.get("start-row", 0)), int(cell.get("start-col", 0))
                rows = int(cell.get("end-row", row)) - row + 1
                columns = int(cell.get("end-col", column)) - column + 1
                cells.append(Cell(row + down, column + right, cell.findtext("content") or "", rows, columns))
        made.append(Table(tuple(cells)))
    return made


def _grid(rows: list[list[Any]]) -> Table:
    return Table(tuple(Cell(r, c, str(text or "")) for r, row in enumerate(rows) for c, text in enumerate(row)))


def _pages(path: Path, reader: PageReader | None = None) -> list[Page]:
    """Every page; one that cannot be read is missing."""
    import pypdfium2

    read = reader or PageReader(Reading())
    made = []
    for number in range(1, len(pypdfium2.PdfDocument(path)) + 1):
        try:
            made.append(Page.from_dict(read(str(path), "pdf", number)["page"]))
        except BadRecord as bad:
            print(f"  {path.name} page {number}: {bad}")
    return made


def _ours(path: Path) -> list[Table]:
    return [block.table for page in _pages(path) for block in page.blocks if block.table]


def _pdfplumber(path: Path) -> list[Table]:
    import pdfplumber

    with pdfplumber.open(path) as opened:
        return [_grid(table) for page in opened.pages for table in page.extract_tables()]


def _camelot(flavour: str, path: Path) -> list[Table]:
    import camelot

    return [_grid(table.df.values.tolist()) for table in camelot.read_pdf(str(path), pages="all", flavor=flavour)]


def _img2table(path: Path) -> list[Table]:
    from img2table.document import PDF

    made = []
    for found in PDF(src=str(path)).extract_tables(implicit_rows=True, borderless_tables=True).values():
        for table in found:
            places: dict[tuple[int, ...], tuple[list[int], list[int], str]] = {}
            for row, cells in table.content.items():
                for column, cell in enumerate(cells):
                    box = (cell.bbox.x1, cell.bbox.y1, cell.bbox.x2, cell.bbox.y2)
                    rows, columns, _ = places.setdefault(box, ([], [], str(cell.value or "")))
                    rows.append(row)
                    columns.append(column)
            made.append(
                Table(
                    tuple(
                        Cell(min(rows), min(columns), text, max(rows) - min(rows) + 1, max(columns) - min(columns) + 1)
                        for rows, columns, text in places.values()
                    )
                )
            )
    return made


def characters() -> list[dict[str, Any]]:
    """CER in reading order, and words wrong in any order, of scans with a transcript; pages in = pages read + refused."""
    reader, rows = PageReader(Reading()), []
    for group in ("scanned", "derived_scans"):
        wrong = total = missing = words = pages = read = 0
        for path in sorted((FOLDER / group).glob("*.pdf")):
            truth = path.with_suffix(".txt")
            if not truth.is_file():
                continue
            import pypdfium2

            here = len(pypdfium2.PdfDocument(path))
            found = _pages(path, reader)
            pages, read = pages + here, read + len(found)
            said = truth.read_text(encoding="utf-8")
            text = "\n".join(_everything(page) for page in found[: 1 if path.stem in _REPEATED else None])
            errors, count = character_errors(text, said)
            lost, held = bag_errors(text, said)
            wrong, total, missing, words = wrong + errors, total + count, missing + lost, words + held
            turned = f", turned {found[0].turned}, skew {found[0].skew}" if found else ""
            print(f"  {path.name}: CER {errors / max(count, 1):.3f}, words wrong {lost / max(held, 1):.3f}{turned}")
        rows.append({"name": f"{group}: CER", "ours": wrong / max(total, 1)})
        rows.append({"name": f"{group}: words wrong in any order", "ours": missing / max(words, 1)})
        rows.append(
            {
                "name": f"{group}: pages read / pages",
                "ours": read,
                "theirs": pages,
                "ratio": read / max(pages, 1),
                "bar": 1.0,
            }
        )
    return rows


_REPEATED = ("cardinal", "nemotron_multipage")  # their transcript has the text of the four pages once


def _everything(page: Page) -> str:
    parts = []
    for block in page.blocks:
        parts += [block.title, block.text, *(cell.text for cell in (block.table.cells if block.table else ()))]
    return "\n".join(filter(None, parts))


def speed() -> list[dict[str, Any]]:
    """Processor seconds a page, one thread: by the text layer, and of scans beside RapidOCR alone on the same pictures."""
    import pypdfium2
    from rapidocr import RapidOCR

    reader = PageReader(Reading())
    digital = sorted((FOLDER / "icdar2013_tables").glob("*.pdf"))[:10]
    begun, pages = time.process_time(), 0
    for path in digital:
        pages += len(_pages(path, reader))
    rows = [{"name": "pages a second and core, text layer", "ours": pages / (time.process_time() - begun)}]
    one = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    bare = RapidOCR(params={**one, "Global.log_level": "critical"})
    ours, theirs = [], []
    for path in sorted((FOLDER / "derived_scans").glob("*.pdf")):
        for number in range(len(pypdfium2.PdfDocument(path))):
            begun = time.process_time()
            pixels = pypdfium2.PdfDocument(path)[number].render(scale=150 / 72, grayscale=True).to_numpy()
            bare(np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, 2))
            theirs.append(time.process_time() - begun)
            begun = time.process_time()
            reader(str(path), "pdf", number + 1)
            ours.append(time.process_time() - begun)
    ours, theirs = ours[1:], theirs[1:]  # the first page loads the models
    ratios = [other / own for own, other in zip(ours, theirs, strict=True)]
    rows.append(
        {
            "name": "pages a second and core, scans: ours / bare RapidOCR",
            "ours": len(ours) / sum(ours),
            "theirs": len(theirs) / sum(theirs),
            "ratio": sum(theirs) / sum(ours),
            "bar": 0.9,
            "range": [min(ratios), max(ratios)],
        }
    )
    return rows


def memory() -> list[dict[str, Any]]:
    """The most that the process which reads pages holds: a document of 1,000 pages beside its first 100."""
    from tempfile import TemporaryDirectory

    from reportlab.pdfgen.canvas import Canvas

    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    for number in range(PAGES_OF_A_LONG_ONE):
        for line in range(40):
            canvas.drawString(
                60, 780 - 18 * line, f"Line {line} of page {number} tells that part {number * 40 + line} is new."
            )
        canvas.showPage()
    canvas.save()
    guarded = Guarded(partial(PageReader, Reading()), PageCaps())
    with TemporaryDirectory() as folder:
        path = Path(folder) / "long.pdf"
        path.write_bytes(buffer.getvalue())
        early = 0.0
        for number in range(1, PAGES_OF_A_LONG_ONE + 1):
            guarded(str(path), "pdf", number)
            if number == PAGES_OF_A_LONG_ONE // 10:
                early = guarded.peak_mb
    guarded.close()
    return [
        {
            "name": "memory of a page worker (MB): 1,000 pages / the first 100",
            "ours": guarded.peak_mb,
            "theirs": early,
            "ratio": guarded.peak_mb / early,
        }
    ]
