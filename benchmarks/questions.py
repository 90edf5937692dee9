"""Questions of people about paragraphs (SQuAD's layout, such as XQuAD) as documents and questions for rag.

    python -m benchmarks.questions xquad.de.json out --as pdf
    genworks run rag --set rag.ingest.source=out/documents --set rag.ingest.questions=out/questions.jsonl \
      --set rag.ingest.test_fraction=0.5

Every article becomes a document, every paragraph a section of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from components.engines.base.paths import read_json, write_jsonl
from components.rag.world.printer import Printer


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--as", dest="form", choices=["markdown", "pdf"], default="markdown")
    options = parser.parse_args()
    print(prepare(options.source, options.folder, options.form), "questions")


def prepare(source: Path, folder: Path, form: str) -> int:
    """Write `documents/` and `questions.jsonl`; how many questions there are."""
    questions: list[dict[str, Any]] = []
    (folder / "documents").mkdir(parents=True)
    for number, article in enumerate(read_json(source)["data"]):
        name = f"article-{number:02d}.{'md' if form == 'markdown' else 'pdf'}"
        texts = [paragraph["context"] for paragraph in article["paragraphs"]]
        (folder / "documents" / name).write_bytes(_printed(name, texts) if form == "pdf" else _written(name, texts))
        questions += [
            {"question": asked["question"], "answer": asked["answers"][0]["text"], "document": name}
            for paragraph in article["paragraphs"]
            for asked in paragraph["qas"]
        ]
    return write_jsonl(folder / "questions.jsonl", questions)


def _written(name: str, texts: list[str]) -> bytes:
    sections = [f"## Section {number}\n\n{text}\n" for number, text in enumerate(texts, 1)]
    return "\n".join([f"# {name}\n", *sections]).encode()


def _printed(name: str, texts: list[str]) -> bytes:
    printer = Printer(name)
    printer.heading(name)
    for number, text in enumerate(texts, 1):
        printer.heading(f"Section {number}", 2)
        printer.paragraph(text)
    return printer.finish()


if __name__ == "__main__":
    main()
