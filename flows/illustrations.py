"""Pictures and charts that stages leave for the report, made part of the page.

`pictures.json`, and every `*_pictures.json`, is a list of `{"title", "note", "file"}`. `charts.json`, and every
`*_charts.json`, is a list of `{"title", "kind": "lines", "xlabel", "series": {name: [[x, y], …]}}` and of `{"title", "kind":
"bars", "xlabel", "values": {name: y}}`. Files are relative to the report's folder.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from components.engines.base.errors import StageError
from components.engines.base.paths import read_json

ENDINGS = ("pictures.json", "charts.json")
_MIME = {".png": "image/png", ".jpg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}


def pictures(folder: Path) -> list[dict[str, Any]]:
    """Every picture with its `source`, a data URI."""
    listed = _listed(folder, "pictures.json")
    return [{**one, "source": embedded(folder, one["file"])} for one in listed]


def charts(folder: Path) -> list[dict[str, Any]]:
    """Every chart with its `svg`."""
    from flows.charts import bars, lines

    drawn = []
    for one in _listed(folder, "charts.json"):
        if one["kind"] == "lines":
            series = {name: [(float(x), float(y)) for x, y in points] for name, points in one["series"].items()}
            svg = lines(series, xlabel=one["xlabel"])
        else:
            svg = bars(one["values"], xlabel=one["xlabel"])
        drawn.append({"title": one["title"], "svg": svg})
    return drawn


def embedded(folder: Path, file: str) -> str:
    """A picture file as a data URI. Raises StageError if it is missing, no picture, or outside of `folder`."""
    path = (folder / file).resolve()
    if not path.is_relative_to(folder.resolve()) or path.suffix not in _MIME or not path.is_file():
        raise StageError(
            f"The report names a picture that is not there: {file}", where=str(folder), do="run the evaluate stage"
        )
    return f"data:{_MIME[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _listed(folder: Path, ending: str) -> list[dict[str, Any]]:
    files = sorted(folder.glob(f"*{ending}"), key=lambda path: (path.name != ending, path.name))
    return [one for path in files for one in read_json(path)]
