"""One source for clip and text_to_image: what CLIP has learnt by heart is scored by models that have not."""

import shutil
from statistics import mean

import pytest

from components.engines.base.paths import digest_path, read_json
from components.engines.captioned.dataset import CaptionedImages
from components.engines.captioned.folds import OtherFolds, read_learnt, write_recipe
from components.engines.captioned.marks import is_wrong
from components.engines.scoring.embedder import Embedder
from components.engines.training.params import Training
from tests.clip.small import DATA, SAMPLE
from tests.clip.small import small as small_clip
from tests.room import Room
from tests.text_to_image.taught import pairs

BY_HEART = Training(
    max_steps=80,
    batch_size=32,
    learning_rate=4e-3,
    warmup_steps=10,
    score_every=80,
    select_metric="valid_loss",
    num_threads=1,
)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """The clip room, trained on what is to be filtered: nearly a third of its captions are another picture's."""
    own = {"num_train": 130, "num_test": 20, "image_px": 32, "textures": ("plain",), "bad_files": 0}
    room = small_clip(tmp_path_factory.mktemp("taught"), ingest=SAMPLE | own, train={"training": BY_HEART})
    return room.run_all(*DATA, "train")


def filtered(root, taught, source=None, **given):
    """A room of text_to_image that has filtered what `source` has cleaned (what clip has learnt), and its figures."""
    room, source = Room("text_to_image", root, taught, filter={"threshold": 0.0}), source or taught
    inputs = {"text_to_image_cleaned": source.data / "cleaned", "checked": source.reports / "checked.json"}
    return room, read_json(room.run("filter", **inputs, **given)["filtering"])


def wrong_pairs(room):
    """Scores of the training pairs with another picture's caption."""
    return [one.metadata["relevance"] for one in pairs(room, "scored", ["train"]).values() if is_wrong(one)]


def test_what_clip_has_learnt_by_heart_is_scored_by_models_that_have_not(tmp_path, taught):
    itself, said = filtered(tmp_path / "off", taught, cross_fit="off")
    train = len(CaptionedImages(taught.data / "cleaned", "train"))
    assert (said["learnt_by_clip"], said["cross_fit_models"]) == (train, 0)
    assert f"trained on {train:,} of these" in said["warnings"][0]
    others, said = filtered(tmp_path / "auto", taught)
    assert (said["learnt_by_clip"], said["cross_fit_models"]) == (train, 2)
    assert "warnings" not in said
    assert mean(wrong_pairs(itself)) > mean(wrong_pairs(others)) + 0.2


def test_a_pair_is_scored_by_the_model_of_its_fold_which_never_saw_the_picture(tmp_path, taught):
    room, _ = filtered(tmp_path, taught, cross_fit=3)
    learnt, shown = read_learnt(room.data / "scorers"), CaptionedImages(taught.data / "cleaned", "train")
    assert set(learnt.by_key) == {one.key for one in shown}
    scored = pairs(room, "scored")
    for fold in range(3):
        mine = [one for one in shown if learnt.by_key[one.key] == fold]
        others = {one.key for one in OtherFolds(shown, fold, 3)}
        assert mine
        assert others == set(learnt.by_key) - {one.key for one in mine}
        model = Embedder.load(room.data / "scorers" / f"fold-{fold}")
        cosines = (model.embed_images([o.open() for o in mine]) * model.embed_texts([o.caption for o in mine])).sum(1)
        assert [scored[one.key].metadata["relevance"] for one in mine] == pytest.approx(cosines.tolist(), abs=1e-5)
    clip = Embedder.load(taught.data / "model")
    unseen = list(pairs(room, "scored", ["valid"]).values())
    cosines = (clip.embed_images([o.open() for o in unseen]) * clip.embed_texts([o.caption for o in unseen])).sum(1)
    assert [one.metadata["relevance"] for one in unseen] == pytest.approx(cosines.tolist(), abs=1e-5)


def test_other_pictures_need_no_other_models_and_unfinished_ones_are_resumed(tmp_path, taught):
    others = small_clip(tmp_path / "others", ingest=SAMPLE | {"num_train": 80, "image_px": 32, "seed": 5})
    fresh, found = filtered(tmp_path, taught, others.run_all("ingest", "clean", "validate"))
    assert (found["learnt_by_clip"], found["cross_fit_models"]) == (0, 0)
    assert [path.name for path in (fresh.data / "scorers").iterdir()] == ["learnt.json"]

    whole, _ = filtered(tmp_path / "whole", taught)
    before = digest_path(whole.data / "scored")
    shutil.rmtree(whole.root / "work" / "filter" / "map")  # killed after the models were trained
    shutil.rmtree(whole.data / "scored")
    filtered(tmp_path / "whole", taught)
    assert digest_path(whole.data / "scored") == before


def test_a_checkpoint_used_as_it_is_has_learnt_nothing_of_ours(tmp_path, taught):
    assert read_json(taught.data / "recipe.json")["training"]["max_steps"] == BY_HEART.max_steps
    write_recipe(tmp_path / "recipe.json", "openai/clip", 32, None)
    assert filtered(tmp_path, taught, recipe=tmp_path / "recipe.json")[1]["learnt_by_clip"] == 0
