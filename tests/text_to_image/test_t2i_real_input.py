"""Real captioned images go through the data pipeline with only params changed."""

from pathlib import Path

import pytest

from components.clip.train import start as start_clip
from components.engines.base.paths import read_json, read_jsonl
from components.engines.captioned.folds import write_recipe
from components.engines.captioned.tokenizer import write_tokenizer
from components.engines.language.bpe import Vocabulary
from components.image_captioning.train import start as start_captioner
from tests.room import Room
from tests.text_to_image.taught import CAPTIONER, CLIP, GREEDY, pairs

SHARED = Path(__file__).resolve().parents[3] / "shared/data/image_caption"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared real data sets are not beside this checkout")


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A room after all data stages, with models that have learnt nothing of game tiles."""
    root = tmp_path_factory.mktemp("tiles")
    source = {"source": str(SHARED / "metadata.csv"), "fields": {"image": "file"}, "limit": 120}
    source |= {"valid_fraction": 0.15, "test_fraction": 0.15, "samples_per_shard": 40}
    room = Room(
        "text_to_image",
        root,
        ingest=source,
        clean={"min_px": 8, "max_aspect": 8, "copies": "pair"},
        validate={"min_train_images": 40, "min_test_images": 5},
        filter={"threshold": 0.0},
        recaption={"decoding": GREEDY},
    ).run_all("ingest", "clean", "validate")
    cleaned, checked, clip = room.data / "cleaned", room.reports / "checked.json", root / "data/clip"
    write_tokenizer(Vocabulary(), None, cleaned, checked, clip / "tokenizer")
    write_recipe(clip / "recipe.json", None, 32, None)  # this CLIP has learnt nothing
    (clip / "cleaned").symlink_to(cleaned)
    start_clip(CLIP, clip / "tokenizer", seed=0).save(clip / "model")
    start_captioner(CAPTIONER, clip / "tokenizer", seed=0).save(root / "data/image_captioning/model")
    return room.run_all("filter", "recaption")


def test_every_tile_is_accounted_for_up_to_the_curated_pairs(room):
    cleaning = read_json(room.reports / "cleaning.json")
    assert cleaning["seen"] == 120
    scored, curated = pairs(room, "scored"), pairs(room, "curated")
    assert cleaning["kept"] == len(scored) > 80
    gone = read_jsonl(room.data / "curated" / "rejected.jsonl")
    assert curated.keys() | {row["key"] for row in gone} == scored.keys()
    assert len(curated) + len(gone) == len(scored)
    assert all(-1 <= one.metadata["relevance"] <= 1 for one in scored.values())


def test_where_nobody_knows_the_truth_no_figure_claims_to(room):
    filtering, curation = (read_json(room.reports / name) for name in ("filtering.json", "curation.json"))
    assert not {"auc", "precision", "recall", "wrong_before"} & filtering.keys()
    assert not {"wrong_before", "wrong_after", "wrong_recaptions"} & curation.keys()
    assert filtering["pairs"] == curation["pairs"]
    assert filtering["marked"] == curation["recaptioned"] + curation["refused"]
    assert [chart["title"] for chart in read_json(room.reports / "filter_charts.json")] == [
        "Filter: share of pairs kept, by threshold"
    ]
