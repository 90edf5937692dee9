"""What was read of the sample's pages beside what was printed on them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from components.engines.base.paths import read_jsonl
from components.engines.documents.files import id_of
from components.engines.documents.page import Cell, Page, Table
from components.engines.documents.parsing import pages_of
from components.engines.documents.quality import bag_errors, character_errors, f1, structure_counts


def parsing_figures(documents: Path, parsed: Path, funnel: dict[str, Any]) -> dict[str, Any]:
    """CER and WER by kind of page, structure F1 of tables with and without merged cells, and how many pages were lost."""
    figures: dict[str, Any] = {
        "pages": funnel["seen"],
        "pages_quarantined": sum(funnel["quarantined"].values()),
        "pages_lost": funnel["seen"] - funnel["kept"] - sum(funnel["quarantined"].values()),
    }
    truth = documents / "truth.jsonl"
    if not truth.is_file():
        return figures
    known = {row["id"] for row in read_jsonl(documents / "documents.jsonl")}
    errors: dict[str, list[tuple[int, int]]] = defaultdict(list)
    tables: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for row in read_jsonl(truth):
        if id_of(row["name"]) not in known:
            continue  # a copy that was dropped
        kind = "scanned" if row["scanned"] else "printed"
        pages = {page.number: page for page, _ in pages_of(parsed, id_of(row["name"]))}
        for number, said in enumerate(row["pages"], 1):
            page = pages.get(number)
            if not said["tables"]:  # where cells stand beside each other there is no one order to compare
                errors[kind].append(character_errors(page.text if page else "", said["text"]))
            errors[f"{kind} words"].append(bag_errors(_everything(page) if page else "", said["text"]))
            _compare(tables, page, [Table(tuple(Cell(**cell) for cell in cells)) for _, cells in said["tables"]])
    for kind, name in (("printed", "cer_printed"), ("scanned", "cer_scanned")):
        if errors[kind]:
            figures[name] = sum(wrong for wrong, _ in errors[kind]) / sum(all_ for _, all_ in errors[kind])
        if errors[f"{kind} words"]:
            wrong, total = (sum(column) for column in zip(*errors[f"{kind} words"], strict=True))
            figures[name.replace("cer", "wer")] = wrong / total
    for kind, counts in tables.items():
        figures[f"table_f1_{kind}"] = f1(*(sum(column) for column in zip(*counts, strict=True)))
    return figures


def _compare(tables: dict[str, list[tuple[int, int, int]]], page: Page | None, true: list[Table]) -> None:
    if not true:
        return
    merged = any(cell.rows > 1 or cell.columns > 1 for table in true for cell in table.cells)
    found = [block.table for block in page.blocks if block.table] if page else []
    counts = structure_counts(found, true)
    tables["merged" if merged else "plain"].append(counts)
    tables["all"].append(counts)


def _everything(page: Page) -> str:
    """All text of a page, that of its tables included."""
    parts = []
    for block in page.blocks:
        parts += [block.title, block.text, *(cell.text for cell in (block.table.cells if block.table else ()))]
    return " ".join(filter(None, parts))
