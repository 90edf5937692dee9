"""The inference pipeline: prompt check, enhancement, generation, picture check, enlargement; and the same over MLflow."""

import base64
import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from components.engines.base.errors import UsageError
from components.engines.base.paths import project_root, read_json, write_json
from components.engines.tracking.models import log_model
from components.text_to_image.serve import SETTINGS, Painter
from components.text_to_image.serving.enhancement import content_words
from components.text_to_image.world.red_cross import RED_CROSS
from tests.mlflow_answers import answers_over_mlflow
from tests.text_to_image.painter_folder import fill

COMPLETE = "a small plain blue square in the top left"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, dit_room):
    return fill(tmp_path_factory.mktemp("served"), dit_room)


@pytest.fixture(scope="module")
def painter(folder):
    return Painter.load(folder)


def picture(answer):
    return Image.open(io.BytesIO(answer["image"]), formats=("PNG",))


def pixels(answer):
    return np.asarray(picture(answer)).astype(int)


def test_a_picture_a_fuller_prompt_its_seed_and_score(painter):
    (answer,) = painter.predict([{"prompt": "a large green circle", "seed": 7}])
    assert picture(answer).size == (32, 32)  # twice the 16 pixels of the generator
    assert content_words("a large green circle") < content_words(answer["prompt"])
    assert (answer["refused"], answer["seed"], answer["network"]) == (None, 7, "student")
    assert -1 <= answer["clip_score"] <= 1


def test_a_picture_is_a_function_of_prompt_and_seed_whatever_is_beside_it(painter):
    asked = [{"prompt": COMPLETE, "seed": seed} for seed in (1, 2, 1)] + [{"prompt": "a red circle", "seed": 1}]
    together = painter.predict(asked)
    alone = [painter.predict([one], batch_size=1)[0] for one in asked]
    for one, other in zip(together, alone, strict=True):
        assert one["prompt"] == other["prompt"]
        assert abs(pixels(one) - pixels(other)).max() <= 1
    assert together[0]["image"] == together[2]["image"] != together[1]["image"]


def test_without_a_seed_one_is_drawn_and_told(painter):
    first, second = painter.predict([{"prompt": COMPLETE}, {"prompt": COMPLETE, "seed": None}])
    assert first["seed"] != second["seed"]
    (again,) = painter.predict([{"prompt": COMPLETE, "seed": first["seed"]}])
    assert abs(pixels(again) - pixels(first)).max() <= 1  # made in a batch of another size


def test_steps_can_be_left_out(painter):
    asked = [{"prompt": "a large green circle", "seed": 7}]
    (bare,) = painter.predict(asked, enhance=False, upscale=False)
    assert bare["prompt"] == "a large green circle"
    assert picture(bare).size == (16, 16)


def test_the_small_picture_is_what_the_generator_makes(painter):
    (answer,) = painter.predict([{"prompt": COMPLETE, "seed": 3}], upscale=False, network="teacher", steps=4)
    made = painter.generators["teacher"].generate([COMPLETE], seeds=[3], steps=4, guidance=2.0)
    expected = (made[0].permute(1, 2, 0) * 255).round().int().numpy()
    assert np.array_equal(pixels(answer), expected)


def test_networks_sampler_and_guidance_can_be_chosen(painter):
    asked = [{"prompt": COMPLETE, "seed": 3}]
    base = painter.predict(asked, network="teacher")[0]
    small = painter.predict(asked, network="int8")[0]
    assert small["network"] == "int8"
    assert 0 < abs(pixels(base) - pixels(small)).max() < 30
    for change in ({"steps": 5}, {"guidance": 6.0}, {"sampler": "ddpm"}):
        assert painter.predict(asked, network="teacher", **change)[0]["image"] != base["image"]


def test_a_negative_prompt_is_served_by_a_network_that_can_follow_it(painter):
    rows = [{"prompt": COMPLETE, "seed": 3, "negative_prompt": "red"}, {"prompt": COMPLETE, "seed": 3}]
    assert [answer["network"] for answer in painter.predict(rows)] == ["teacher", "student"]


def test_one_negative_prompt_without_guidance_is_refused_alone(painter):
    rows = [{"prompt": COMPLETE, "seed": 3, "negative_prompt": "red"}, {"prompt": COMPLETE, "seed": 3}]
    for options in ({"network": "student"}, {"guidance": 1.0}):
        refused, painted = painter.predict(rows, **options)
        assert re.search(r"at guidance 1 cannot follow a negative prompt.*'teacher' with guidance", refused["problem"])
        assert refused["image"] is None
        assert painted == painter.predict(rows[1:], **options)[0]
    assert painter.predict(rows, network="student", guidance=2.0)[0]["refused"] is None


def test_pictures_are_embedded_once(painter, monkeypatch):
    seen, plain = [], painter.embedder.embed_images
    monkeypatch.setattr(painter.embedder, "embed_images", lambda pictures: seen.extend(pictures) or plain(pictures))
    painter.predict([{"prompt": COMPLETE, "seed": seed} for seed in (1, 2)])
    assert len(seen) == 2


def test_harmful_prompts_are_refused_with_the_reason_and_the_others_are_answered(painter):
    rows = [{"prompt": "a nude person", "seed": 4}, {"prompt": COMPLETE, "seed": 3}, {"prompt": "some grumpy words"}]
    first, second, third = painter.predict(rows)
    assert first["image"] is first["clip_score"] is None
    assert "sexual content" in first["refused"]
    assert (first["prompt"], first["seed"]) == ("a nude person", 4)
    assert picture(second).size == (32, 32)
    assert "demeans" in third["refused"]
    assert third["seed"] is None
    assert [answer["image"] for answer in painter.predict(rows[::2])] == [None, None]


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory, folder):
    return shutil.copytree(folder, tmp_path_factory.mktemp("own") / "served")


def wary(folder, **thresholds):
    settings = read_json(folder / SETTINGS)
    settings["concepts"] = [concept | thresholds for concept in settings["concepts"]]
    write_json(folder / SETTINGS, settings)
    return Painter.load(folder)


def test_a_concept_is_refused_in_the_prompt_and_in_the_picture(own_folder):
    asked = [{"prompt": COMPLETE, "seed": 3}]
    of_prompts = wary(own_folder, text_threshold=-2.0)
    of_prompts.generators = {}  # nothing is generated for a refused prompt
    assert of_prompts.predict(asked)[0]["refused"] == RED_CROSS
    (answer,) = wary(own_folder, text_threshold=2.0, image_threshold=-2.0).predict(asked)
    assert answer["refused"] == RED_CROSS
    assert answer["image"] is answer["clip_score"] is None
    assert answer["seed"] == 3


UNUSABLE = {
    "  ": "empty",
    "x" * 201: r"has 201 characters.*up to 200",
}


@pytest.mark.parametrize("prompt", UNUSABLE)
def test_a_prompt_that_is_none_is_refused_and_its_neighbours_are_painted(painter, prompt):
    before, bad, after = painter.predict(
        [{"prompt": COMPLETE, "seed": 1}, {"prompt": prompt}, {"prompt": COMPLETE, "seed": 2}]
    )
    assert re.search(UNUSABLE[prompt], bad["problem"])
    assert bad["image"] is bad["network"] is None
    assert before["image"]
    assert after["image"]


@pytest.mark.parametrize("seed", [1.5, "7", -1, 2**31, float("inf"), float("nan")])
def test_a_seed_that_is_none_is_refused(painter, seed):
    (answer,) = painter.predict([{"prompt": COMPLETE, "seed": seed}])
    assert "is no seed" in answer["problem"]
    assert answer["image"] is answer["seed"] is None


def test_unknown_options_are_refused(painter):
    with pytest.raises(UsageError, match=r"No option called size.*network"):
        painter.predict([{"prompt": COMPLETE}], size=3)
    with pytest.raises(UsageError, match=r"No network called 'tutor'.*int8, student, teacher"):
        painter.predict([{"prompt": COMPLETE}], network="tutor")
    assert painter.predict([]) == []


def test_it_is_served_by_mlflow_as_it_answers_here(folder, tmp_path, painter, monkeypatch):
    """Logged as every room's pipeline, loaded again by MLflow, and asked as over HTTP."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")  # of this test alone
    experiment = mlflow.create_experiment("painter", artifact_location=str(tmp_path / "artifacts"))
    run = mlflow.tracking.MlflowClient().create_run(experiment)
    pipeline = "components.text_to_image.serve:Painter"
    logged = log_model(run.info.run_id, folder, pipeline, root=project_root())
    golden = logged.golden["outputs"]
    assert [bool(row["image"]) for row in golden] == [True, True, False]  # no picture, so none of a seed that is drawn
    assert "weapons" in golden[2]["refused"]
    rows = [
        {"prompt": COMPLETE, "seed": 3},
        {"prompt": COMPLETE, "negative_prompt": "red", "seed": 3},
        {"prompt": "a nude"},
    ]
    served, here = answers_over_mlflow(logged.uri, rows, {"steps": 4}), painter.predict(rows, steps=4)
    assert [row["network"] for row in served] == ["student", "teacher", None]
    for answer, expected in zip(served, here, strict=True):
        image = None if answer["image"] is None else base64.b64decode(answer["image"])
        assert {**answer, "image": image} == expected
