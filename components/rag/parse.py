"""Every page read: by its text layer where that can be believed, else by OCR; tables and figures in their places."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from components.engines.base import stage
from components.engines.base.params import MaxBadFraction, Params, Workers
from components.engines.base.stage import StageContext
from components.engines.documents.guard import PageCaps
from components.engines.documents.reader import Reading


class Parse(Params):
    """How pages are read, and what reading one may take: a page that takes more is quarantined, its document goes on."""

    reading: Reading = Reading()
    caps: PageCaps = PageCaps()
    workers: Workers = 0
    max_bad_fraction: MaxBadFraction = 0.1


def parse(params: Parse, context: StageContext, documents: Path, parsed: Path, parsing: Path) -> None:
    """Read the pages of all documents into shards of the same names; `parsing` (JSON) counts them.

    What was read is kept beside the pipeline by the document and what reads it: a changed document is read again, no other.
    """
    from components.engines.base.paths import write_json
    from components.engines.documents.parsing import PageMapper, read_by, without_strangers
    from components.engines.shards.manifest import read_manifest
    from components.engines.shards.map_shards import map_shards

    kept = context.root / ".work" / f"{context.name}-pages" / read_by(context, params.reading)
    without_strangers(kept, read_manifest(documents))
    made = map_shards(
        partial(PageMapper, (documents / "files").resolve(), params.reading, params.caps),
        documents,
        parsed,
        work=kept,
        workers=params.workers,
        max_bad_fraction=params.max_bad_fraction,
    )
    assert made.funnel is not None
    write_json(parsing, made.funnel.as_dict())


if __name__ == "__main__":
    stage.main(parse)
