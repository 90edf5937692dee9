"""The parsing stage: every page of a library through the shard map, each in a process that may be lost."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from components.engines.base.errors import BadRecord
from components.engines.base.fingerprint import CODE_FOLDER
from components.engines.base.params import Params
from components.engines.base.paths import digest_file, digest_value, remove
from components.engines.base.stage import StageContext
from components.engines.documents.guard import Guarded, PageCaps
from components.engines.documents.page import Page
from components.engines.documents.reader import PageReader, Reading
from components.engines.shards.manifest import Manifest, read_manifest
from components.engines.shards.reader import ShardReader


class PageMapper:
    """A mapper of the shard map: {document, file, kind, number} -> the page (json) and its picture (jpg)."""

    batch_size = 8

    def __init__(self, files: Path, reading: Reading, caps: PageCaps) -> None:
        self.files = files
        self.read = Guarded(partial(PageReader, reading), caps)

    def decode(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Reads the page here, where a BadRecord quarantines it."""
        asked = json.loads(sample["json"])
        path = self.files / asked["file"]
        if not path.is_file():
            raise BadRecord("document missing", asked["file"])
        made = self.read(str(path), asked["kind"], asked["number"])
        body = json.dumps({"document": asked["document"], "page": made["page"]}, ensure_ascii=False)
        return {"__key__": sample["__key__"], "json": body.encode(), **({"jpg": made["jpg"]} if made["jpg"] else {})}

    def apply(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return items


def pages_of(parsed: Path, document: str) -> list[tuple[Page, bytes]]:
    """The pages of one document with their pictures; quarantined ones are missing."""
    split = split_of(document)
    if not any(shard.split == split and shard.samples for shard in read_manifest(parsed).shards):
        return []
    return [
        (Page.from_dict(json.loads(sample["json"])["page"]), sample.get("jpg", b""))
        for sample in ShardReader(parsed, split)
    ]


def split_of(document: str) -> str:
    """A document is a split of the shards of pages."""
    return f"d{document}"


def read_by(context: StageContext, reading: Params) -> str:
    """What a page as read depends on besides its document: params, and the code of the stage."""
    code = context.root / CODE_FOLDER / f"{context.name}.json"
    return digest_value([reading.identity(), digest_file(code) if code.is_file() else ""])[:16]


def without_strangers(kept: Path, manifest: Manifest) -> None:
    """Delete what is kept of documents that are no longer there, and what other code or params read."""
    for other in kept.parent.glob("*"):
        if other != kept:
            remove(other)
    known = {shard.name.removesuffix(".tar") for shard in manifest.shards}
    for path in kept.glob("*"):
        if path.is_file() and path.name.split(".")[0] not in known:
            path.unlink()
