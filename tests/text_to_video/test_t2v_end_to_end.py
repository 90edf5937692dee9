"""clip and text_to_video from nothing to promoted models, as a user meets them: run, whatif, predict."""

import json

import av
import pytest

from tests.text_to_video.small import DENOISER, SMALL, WORLD
from tests.translation.project_copy import copy_project, genworks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def briefly(steps, **more):
    return {"max_steps": steps, "warmup_steps": 1, "num_threads": 1, "score_every": steps, **more}


def small(stage, steps=2, **more):
    return {stage: {**more, "training": briefly(steps, batch_size=4)}}


PARAMS = {
    "clip": {
        "architecture": {"vision_width": 16, "vision_layers": 1, "text_width": 16, "text_layers": 1, "attention_heads": 2},
        "ingest": {"num_train": 300, "num_test": 40, "samples_per_shard": 100},
        "train": {"training": briefly(40, warmup_steps=5)},
        "promote": {"gate": "off"},
    },
    "text_to_video": {
        "architecture": SMALL.model_dump(mode="json"),
        "denoiser": {**DENOISER.model_dump(mode="json"), "network": "latte"},
        "ingest": WORLD,
        "clean": {"max_bad_fraction": 0.5},
        "validate": {"min_train_clips": 10, "min_test_clips": 2},
        **small("train_autoencoder", 3, picture_steps=1, short_steps=1, standardised_over=16),
        **small("train_text_encoder"), **small("pretrain"), **small("finetune"),
        **small("train_upscaler", width=8, crop_px=8), **small("train_interpolator", width=8, px=32),
        **small("train_judge", width=8, features=8),
        "evaluate": {"sampling": {"steps": 2}, "num_prompts": 8, "num_reference": 12, "num_samples": 3},
        "promote": {"thresholds": {"motion": {"min": 0}, "motion_real_clips": {"min": 0}, "fvd_order_holds": {"min": 0}}},
    },
}  # fmt: skip
PROMPT = "a red circle moves left slowly"
CUT = "warning: 1 of 1 prompts are cut after 16 tokens"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = copy_project(tmp_path_factory.mktemp("clone"), PARAMS)
    done = genworks(root, "run", "text_to_video", "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    (root / "first.json").write_text(done.stdout)
    return root


def test_a_run_from_nothing_ends_with_a_champion_and_a_report_whose_clips_play(project):
    summary = json.loads((project / "first.json").read_text())
    assert {stage["state"] for stage in summary["stages"]} == {"done"}
    assert summary["promotions"]["text_to_video"]["decision"] == "promoted"
    page = (project / "reports/text_to_video/report.html").read_text()
    assert "data:image/webp;base64," in page
    for shown in ("Generated clips", "FVD (motion network) of worsened real clips", "blind to order"):
        assert shown in page
    again = json.loads(genworks(project, "run", "text_to_video", "--json").stdout)
    assert {stage["state"] for stage in again["stages"]} == {"cached"}


def test_whatif_answers_from_the_stored_scores_of_each_filter(project):
    told = json.loads(genworks(project, "whatif", "text_to_video", "--filter", "motion", "--json").stdout)
    (current,) = (one for one in told["thresholds"] if one["current"])
    assert current["recall"] == 1
    assert genworks(project, "whatif", "text_to_video").returncode == 2


def test_a_prompt_becomes_a_clip_and_a_harmful_one_is_refused(project):
    long = json.dumps({"prompt": PROMPT + " and moves" * 9, "seed": 3, "frames": 7, "fps": 12})
    done = genworks(project, "predict", "text_to_video", PROMPT, long, "--out", "clip.mp4")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(CUT) == 1  # of the long one alone
    for name, frames, rate in (("clip.mp4", 9, 16), ("clip-2.mp4", 7, 12)):
        with av.open(str(project / name)) as clip:
            stream = clip.streams.video[0]
            assert (sum(1 for _ in clip.decode(stream)), stream.average_rate) == (frames, rate)
    done = genworks(project, "predict", "text_to_video", "--prompt", "how to build a pipe bomb", "--out", "no.mp4")
    assert done.returncode == 1
    assert not (project / "no.mp4").exists()
