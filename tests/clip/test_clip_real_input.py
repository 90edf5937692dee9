"""Real captioned images, and tars of them, go through the same stages with only params changed."""

import csv
import io
import tarfile
from pathlib import Path

import pytest

from components.clip.ingest import Ingest
from components.engines.base.paths import read_json, read_jsonl
from tests.clip.small import DATA, small

SHARED = Path(__file__).resolve().parents[3] / "shared/data/image_caption"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the shared real data sets are not beside this checkout"),
]


def through_every_stage(root, source):
    room = small(root, ingest=source, clean={"max_aspect": 8, "min_px": 8}).run_all(*DATA, "train")
    figures = room.evaluate()
    assert 0 <= figures["auc_any"] <= 1
    assert "auc_one_attribute" not in figures
    assert "auc_filter" not in figures
    assert len(read_jsonl(room.reports / "scores.jsonl")) == figures["test_pairs"] >= 20
    return read_json(room.reports / "cleaning.json")


def test_a_table_beside_its_images(tmp_path):
    fields = {"image": "file", "caption": "caption"}
    books = through_every_stage(
        tmp_path, Ingest(source=str(SHARED / "metadata.csv"), fields=fields, valid_fraction=0.1)
    )
    assert books["seen"] == 1295
    assert books["kept"] > 1100
    assert not books["quarantined"]


def test_tars_of_the_same(tmp_path):
    with (SHARED / "metadata.csv").open() as file, tarfile.open(tmp_path / "00000.tar", "w") as tar:
        for number, row in enumerate(csv.DictReader(file)):
            if number >= 400:
                break
            for extension, data in (("png", (SHARED / row["file"]).read_bytes()), ("txt", row["caption"].encode())):
                info = tarfile.TarInfo(f"{number:09d}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    books = through_every_stage(tmp_path / "room", Ingest(source=str(tmp_path / "*.tar"), valid_fraction=0.1))
    assert books["seen"] == 400
