"""Real captioned images go through the same stages with only params changed."""

from pathlib import Path

import pytest

from components.engines.base.paths import read_json, read_jsonl
from components.image_captioning.ingest import Ingest
from tests.clip.small import DATA
from tests.image_captioning.small import small, with_clip

SHARED = Path(__file__).resolve().parents[3] / "shared/data/image_caption"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the shared real data sets are not beside this checkout"),
]


def test_a_table_beside_its_images(tmp_path):
    fields = {"image": "file", "caption": "caption"}
    source = Ingest(source=str(SHARED / "metadata.csv"), fields=fields, limit=400, valid_fraction=0.1)
    room = small(tmp_path, ingest=source, clean={"max_aspect": 8, "min_px": 8}).run_all(*DATA, "train")
    figures = with_clip(room).evaluate()
    assert read_json(room.reports / "cleaning.json")["seen"] == 400
    assert "exact" not in figures
    assert figures["cider_shuffled_images"] >= 0
    assert figures["cider"] < figures["cider_reference"]
    assert len(read_jsonl(room.reports / "scores.jsonl")) == figures["test_images"] >= 20
