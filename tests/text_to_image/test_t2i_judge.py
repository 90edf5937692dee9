"""The judge: it learns from scenes of its own, is measured on the data's, and is absent where nobody knows the truth."""

import numpy as np
import pytest
import torch

from components.engines.base.errors import StageError
from components.engines.base.paths import read_json, write_json
from components.engines.captioned.dataset import Captioned, CaptionedImages
from components.engines.shards.manifest import read_manifest, write_manifest
from components.engines.shards.writer import ShardWriter
from components.engines.super_resolution.degradation import blurred, degraded
from components.engines.worlds.scenes import ATTRIBUTES, Scene
from components.text_to_image.networks.judge import Judge
from components.text_to_image.tasks.judge import values_of
from components.text_to_image.train_judge import TrainJudge, judging, known_pictures
from tests.text_to_image.small import small, training


@pytest.fixture(scope="module")
def params():
    schedule = {"learning_rate": 4e-3, "warmup_steps": 10, "score_every": 120, "select_metric": "valid_all_right"}
    return TrainJudge(width=12, training=training(120, batch_size=48, **schedule))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, t2i_base, params):
    """A judge of 16 pixels, where a circle is hard to tell from a square."""
    room = small(tmp_path_factory.mktemp("judge"), t2i_base, train_judge=params)
    return room.run("train_judge")


def test_it_recognises_pictures_it_was_not_painted(trained, t2i_data):
    found = Judge.load(trained["judge"])
    images, values = known_pictures(CaptionedImages(t2i_data / "cleaned", "train")[:], 16)
    answers = found.predict(images)
    assert list(answers) == list(ATTRIBUTES)
    right = {name: (answers[name] == values[:, column]).float().mean() for column, name in enumerate(ATTRIBUTES)}
    assert right["colour"] > 0.8
    assert right["position"] > 0.9
    shuffled = found.predict(images.flip(0))
    assert (shuffled["position"] == values[:, 2]).float().mean() < 0.6  # it does look at the picture
    assert "valid_all_right" in trained["judge_curve"].read_text()


def test_probabilities_of_combinations_add_up_and_agree_with_the_answers(trained, t2i_data):
    found = Judge.load(trained["judge"])
    images, _ = known_pictures(CaptionedImages(t2i_data / "cleaned", "valid")[:3], 16)
    joint = found.joint_log_probabilities(images)
    assert joint.shape == (3, 6 * 4 * 4 * 2 * 2)
    assert joint.exp().sum(1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    place = torch.zeros(3, dtype=torch.long)
    for name, answer in found.predict(images).items():
        place = place * len(ATTRIBUTES[name]) + answer
    assert torch.equal(joint.argmax(1), place)


def test_right_says_which_attributes_are(trained):
    found = Judge.load(trained["judge"])
    images = torch.rand((4, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    said = found.predict(images)
    scenes = [Scene(**{name: ATTRIBUTES[name][int(answer[i])] for name, answer in said.items()}) for i in range(4)]
    assert found.right(images, scenes).all()
    other = [Scene(**{**scene.as_dict(), "size": "small" if scene.size == "large" else "large"}) for scene in scenes]
    assert found.right(images, other).tolist() == [[True, True, True, False, True]] * 4


def test_scenes_of_training_are_new_in_every_epoch_and_the_same_in_every_split(params, t2i_data):
    task = judging(params, 16, t2i_data / "cleaned")
    whole, next_epoch = task.batch(np.array([4, 1, 7]), 0), task.batch(np.array([4, 1, 7]), 1)
    alone = task.batch(np.array([1]), 0)
    assert torch.equal(whole["images"][1], alone["images"][0])
    assert not torch.equal(whole["images"], next_epoch["images"])
    many = task.batch(np.arange(400), 0)["values"]
    assert [len(column.unique()) for column in many.T] == [len(values) for values in ATTRIBUTES.values()]


def test_values_are_numbers_into_the_attributes():
    scene = Scene("purple", "cross", "bottom left", "large", "striped")
    assert values_of([scene]).tolist() == [[4, 3, 2, 1, 1]]


def test_data_without_truth_have_no_judge(tmp_path, t2i_base, t2i_data, params):
    unknown = tmp_path / "cleaned"
    unknown.mkdir()
    shards = []
    for split in ("train", "valid", "test"):
        with ShardWriter(unknown, split, 50) as writer:
            for one in CaptionedImages(t2i_data / "cleaned", split):
                told = {name: value for name, value in one.metadata.items() if name != "truth"}
                writer.write(Captioned(one.key, one.image, one.caption, told).to_sample())
        shards += writer.shards
    write_manifest(unknown, shards, read_manifest(t2i_data / "cleaned").funnel)
    judge = small(tmp_path, t2i_base, train_judge=params).run("train_judge", cleaned=unknown)["judge"]
    assert Judge.load(judge) is None
    assert "nobody knows" in read_json(judge / "absent.json")["reason"]


def test_a_judge_of_another_world_is_refused(trained, tmp_path):
    config = read_json(trained["judge"] / "config.json")
    write_json(tmp_path / "config.json", {**config, "attributes": {"mood": ["happy", "sad"]}})
    with pytest.raises(StageError, match="knows another world"):
        Judge.load(tmp_path)


def test_blur_keeps_flat_pictures_and_softens_edges():
    flat = torch.full((2, 3, 8, 8), 0.4)
    torch.testing.assert_close(blurred(flat, torch.tensor([[0.0], [0.8]])), flat)
    edge = torch.zeros(1, 3, 8, 8)
    edge[..., 4:] = 1
    torch.testing.assert_close(blurred(edge, torch.tensor([[0.0]])), edge)
    soft = blurred(edge, torch.tensor([[0.8]]))[0, 0, 4]
    assert soft[:2].tolist() == [0, 0]
    assert 0 < soft[2] < soft[3] < 0.5 < soft[4] < soft[5] < 1


def test_half_of_the_degraded_stay_sharp_and_noise_is_as_strong_as_told():
    edge = torch.full((200, 3, 8, 8), 0.2)
    edge[..., 4:] = 0.8
    rngs = [np.random.default_rng(i) for i in range(200)]
    sharp = (degraded(edge, rngs, max_blur_px=0.8) - edge).abs().amax((1, 2, 3)) < 1e-6
    assert 0.4 < sharp.float().mean() < 0.6
    noisy = degraded(edge, [np.random.default_rng(i) for i in range(200)], max_blur_px=0.0, max_noise=0.1) - edge
    assert 0.05 < noisy.std() < 0.065  # 0.1 / sqrt(3)
