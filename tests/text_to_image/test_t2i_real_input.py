"""Real captioned images go through the data pipeline with only params changed."""

from pathlib import Path

import pytest

from components.clip.train import start as start_clip
from components.engines.base.paths import read_json, read_jsonl
from components.engines.captioned.tokenizer import CaptionTokenizer, write_tokenizer
from components.image_captioning.train import start as start_captioner
from components.text_to_image.clean import Clean, clean
from components.text_to_image.ingest import Ingest, ingest
from components.text_to_image.validate import Validate, validate
from tests.text_to_image.curation_room import CAPTIONER, CLIP, Room

SHARED = Path(__file__).resolve().parents[3] / "shared/data/image_caption"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared real data sets are not beside this checkout")


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A room after all data stages, with models that have learnt nothing of game tiles."""
    root = tmp_path_factory.mktemp("tiles")
    room, images, cleaned = Room(root, root), root / "images", root / "cleaned"
    source = {"source": str(SHARED / "metadata.csv"), "fields": {"image": "file"}, "limit": 120}
    ingest(Ingest(**source, valid_fraction=0.15, test_fraction=0.15, samples_per_shard=40), images)
    cleaning = Clean(min_px=8, max_aspect=8, copies="pair")
    clean(cleaning, room.context("clean"), images, cleaned, root / "cleaning.json")
    bounds = Validate(min_train_images=40, min_test_images=5)
    validate(bounds, room.context("validate"), cleaned, root / "checks.html", root / "checked.json")
    write_tokenizer(CaptionTokenizer(), None, cleaned, root / "checked.json", root / "tokenizer")
    start_clip(CLIP, root / "tokenizer", seed=0).save(root / "clip")
    start_captioner(CAPTIONER, root / "tokenizer", seed=0).save(root / "captioner")
    room.filter(threshold=0.0)
    room.recaption(threshold=0.0)
    return room


def test_every_tile_is_accounted_for_up_to_the_curated_pairs(room):
    cleaning = read_json(room.root / "cleaning.json")
    assert cleaning["seen"] == 120
    scored, curated = room.pairs("scored"), room.pairs("curated")
    assert cleaning["kept"] == len(scored) > 80
    gone = read_jsonl(room.root / "curated" / "rejected.jsonl")
    assert curated.keys() | {row["key"] for row in gone} == scored.keys()
    assert len(curated) + len(gone) == len(scored)
    assert all(-1 <= one.told["relevance"] <= 1 for one in scored.values())


def test_where_nobody_knows_the_truth_no_figure_claims_to(room):
    filtering, curation = (read_json(room.root / name) for name in ("filtering.json", "curation.json"))
    assert not {"auc", "precision", "recall", "wrong_before"} & filtering.keys()
    assert not {"wrong_before", "wrong_after", "wrong_recaptions"} & curation.keys()
    assert filtering["pairs"] == curation["pairs"]
    assert filtering["marked"] == curation["recaptioned"] + curation["refused"]
    assert [chart["title"] for chart in read_json(room.root / "filter_charts.json")] == [
        "Filter: share of pairs kept, by threshold"
    ]
