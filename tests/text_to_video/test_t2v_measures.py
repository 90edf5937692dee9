"""What evaluate computes: whether it can tell better from worse, and what it leaves behind."""

import io

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from components.engines.base.paths import read_json, read_jsonl, write_json
from components.engines.super_resolution.interpolator import Interpolator, repeated
from components.text_to_video.measures.distances import frame_distances, video_distances, worsened
from components.text_to_video.measures.gallery import FPS
from components.text_to_video.networks.motion_network import CONFIG, WEIGHTS, MotionJudge, MotionNetwork, values_of
from components.text_to_video.world.motion import ATTRIBUTES, Motion
from tests.declared_figures import unwritten


@pytest.fixture(scope="module")
def figures(t2v_room):
    return read_json(t2v_room.reports / "metrics.json")


def test_figures_stand_beside_their_controls(figures):
    for name in ("motion", "looks", "clip_similarity"):
        assert {f"{name}_shuffled_prompts", f"{name}_real_clips"} <= figures.keys()
    assert figures["fvd_motion_network_real_clips"] < figures["fvd_motion_network_noise_clips"]
    assert figures["jerkiness_real_clips"] < figures["jerkiness_shuffled_frames"]
    assert figures["psnr_averaged"] > figures["psnr_repeated"]
    assert 0 <= figures["motion"] <= 1


def test_what_figures_yaml_declares_is_written(figures):
    assert unwritten("text_to_video", figures) == []


def test_scores_are_of_every_prompt_and_samples_play(t2v_room, figures):
    rows = read_jsonl(t2v_room.reports / "scores.jsonl")
    assert len(rows) == figures["test_prompts"] == 8
    assert figures["motion"] == pytest.approx(np.mean([row["metrics"]["motion"] for row in rows]))
    sample = read_jsonl(t2v_room.reports / "samples.jsonl")[0]
    shown = Image.open(io.BytesIO((t2v_room.reports / sample["pictures"]["generated"]).read_bytes()))
    assert (shown.format, shown.size) == ("WEBP", (16, 16))
    assert sum(durations(shown)) == pytest.approx(5 * 1000 / FPS, abs=5)


def durations(shown):
    """Milliseconds of each frame: WebP keeps frames that are alike as one that is shown longer."""
    for place in range(shown.n_frames):
        shown.seek(place)
        shown.load()
        yield shown.info["duration"]


class Differences:
    """A network whose features are the frames and their differences, told apart by place."""

    name = "motion_network"

    def features(self, clips):
        small = torch.nn.functional.avg_pool3d(clips, (1, 8, 8)).flatten(1)
        steps = torch.nn.functional.avg_pool3d(clips.diff(dim=2).abs(), (1, 8, 8)).flatten(1)
        return torch.cat([small.mean(1, keepdim=True), steps.mean(1, keepdim=True), steps.std(1, keepdim=True)], 1)


class Colours:
    name = "colours"

    def features(self, images):
        return images.mean((2, 3))


def moving(count, seed):
    rng = np.random.default_rng(seed)
    clips = torch.full((count, 3, 8, 16, 16), 0.3)
    for clip in clips:
        row, colour = rng.integers(2, 10), torch.tensor(rng.random(3), dtype=torch.float32)
        for frame in range(8):
            clip[:, frame, row : row + 4, 1 + frame : 6 + frame] = colour[:, None, None]
    return clips


def test_time_is_seen_by_the_video_distance_and_not_by_the_frame_wise_one():
    reference, real = moving(40, 0), moving(40, 1)
    sets = {f"_{name}": clips for name, clips in worsened(real, 0).items()}
    fvd = video_distances(Differences(), sets, reference)
    assert fvd["fvd_motion_network_real"] < fvd["fvd_motion_network_shuffled"]
    assert fvd["fvd_motion_network_real"] < fvd["fvd_motion_network_frozen"]
    blind = frame_distances(Colours(), {name: sets[name] for name in ("_real", "_shuffled")}, reference)
    assert blind["frame_fid_colours_shuffled"] == pytest.approx(blind["frame_fid_colours_real"], rel=1e-5)


def test_worsened_clips_are_what_they_are_called():
    real = moving(5, 0)
    made = worsened(real, 0)
    assert torch.equal(made["reversed"].flip(2), real)
    assert torch.equal(made["shuffled"].sort(2).values, real.sort(2).values)
    assert not torch.equal(made["shuffled"], real)
    assert (made["frozen"].diff(dim=2) == 0).all()
    assert made["blurred"].shape == real.shape


def test_the_judge_answers_in_the_words_of_the_world():
    torch.manual_seed(0)
    judge = MotionJudge(MotionNetwork(4, 8, 5, 16))
    clips = torch.rand(3, 3, 5, 16, 16)
    assert {name: len(values) for name, values in judge.predict(clips).items()} == dict.fromkeys(ATTRIBUTES, 3)
    assert judge.features(clips).shape == (3, 8)
    torch.testing.assert_close(judge.joint_log_probabilities(clips).exp().sum(1), torch.ones(3))
    assert values_of([Motion("green", "square", "up", "fast", "left")]).tolist() == [[1, 1, 2, 1, 1]]


def test_a_judge_from_disk_says_of_each_attribute_what_its_head_says(tmp_path):
    shape = {"width": 4, "features": 8, "frames": 5, "px": 16}
    network = MotionNetwork(**shape)
    for number, head in enumerate(network.heads.values()):
        head.bias.data[number % 2] = 100.0
    write_json(tmp_path / CONFIG, {"attributes": {name: list(values) for name, values in ATTRIBUTES.items()}, **shape})
    safetensors.torch.save_file(network.state_dict(), tmp_path / WEIGHTS)
    said = MotionJudge.load(tmp_path).predict(torch.rand(2, 3, 5, 16, 16))
    assert said == {name: [values[number % 2]] * 2 for number, (name, values) in enumerate(ATTRIBUTES.items())}


def test_interpolation_keeps_given_frames_and_starts_as_their_mean(tmp_path):
    video = torch.rand(3, 4, 8, 8)
    network = Interpolator(4)
    network.save(tmp_path)
    made = Interpolator.load(tmp_path).interpolate(video)
    assert made.shape == (3, 7, 8, 8)
    assert torch.equal(made[:, ::2], video)
    torch.testing.assert_close(made[:, 1::2], (video[:, :-1] + video[:, 1:]) / 2)
    assert torch.equal(repeated(video)[:, 1], video[:, 0])
