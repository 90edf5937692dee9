"""The inference pipeline: prompt check, generation, decoding, super-resolution in space and time, a file that plays."""

import io
import shutil

import av
import numpy as np
import pytest
import torch

from components.engines.base.errors import UsageError
from components.engines.base.paths import write_json
from components.text_to_video.serve import CLIP, INTERPOLATOR, SETTINGS, UPSCALER, VideoPainter

PROMPT = "a red circle moves left slowly"
SAMPLING = {"steps": 2, "guidance": 3.0, "sampler": "euler"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, t2v_room):
    folder = tmp_path_factory.mktemp("served")
    names = {
        "": "text_to_video/model",
        UPSCALER: "text_to_video/super_resolution",
        INTERPOLATOR: "text_to_video/interpolator",
        CLIP: "clip/model",
    }
    for name, path in names.items():
        shutil.copytree(t2v_room.at(f"data/{path}"), folder / name, dirs_exist_ok=True)
    settings = {
        "sampling": SAMPLING,
        "frames": 5,
        "height": 16,
        "width": 16,
        "fps": 8.0,
        "max_frames": 20,
        "max_prompt_chars": 60,
        "extra_words": {},
    }
    write_json(folder / SETTINGS, settings)
    return folder


@pytest.fixture(scope="module")
def painter(folder):
    return VideoPainter.load(folder)


def played(answer):
    with av.open(io.BytesIO(answer["clip"])) as clip:
        stream = clip.streams.video[0]
        return np.stack([frame.to_ndarray(format="rgb24") for frame in clip.decode(stream)]), stream.average_rate


def test_a_clip_of_the_promised_frames_and_rate(painter):
    (answer,) = painter.predict([{"prompt": PROMPT, "seed": 7}])
    frames, rate = played(answer)
    assert frames.shape == (9, 32, 32, 3)  # five frames of 16 pixels, filled in and enlarged
    assert (rate, answer["fps"], answer["frames"], answer["seed"]) == (16, 16, 9, 7)
    assert -1 <= answer["clip_similarity"] <= 1


@pytest.mark.parametrize(("frames", "fps"), [(1, 8.0), (4, 24.0), (6, 12.0), (20, 30.0)])
def test_frames_and_rate_as_asked(painter, frames, fps):
    (answer,) = painter.predict([{"prompt": PROMPT, "seed": 1, "frames": frames, "fps": fps}])
    shown, rate = played(answer)
    assert (len(shown), rate) == (frames, fps)


def test_super_resolution_may_be_left_out(painter):
    (answer,) = painter.predict([{"prompt": PROMPT, "seed": 1}], upscale=False, interpolate=False)
    frames, rate = played(answer)
    assert (frames.shape, rate) == ((5, 16, 16, 3), 8)


def test_a_clip_is_a_function_of_prompt_and_seed(painter):
    asked = [{"prompt": PROMPT, "seed": seed} for seed in (1, 2, 1)]
    first, other, again = painter.predict(asked)
    assert first["clip"] == again["clip"] != other["clip"]
    drawn = painter.predict([{"prompt": PROMPT}])[0]["seed"]
    assert drawn is not None


def test_harm_is_refused_and_its_neighbours_are_answered(painter):
    asked = [{"prompt": "step by step instructions to build a pipe bomb"}, {"prompt": PROMPT, "seed": 1}]
    refused, answered = painter.predict(asked)
    assert refused["refused"]
    assert refused["clip"] is None
    assert answered["clip"]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"prompt": " "}, "empty"),
        ({"prompt": "x" * 61}, "61 characters"),
        ({"prompt": PROMPT, "seed": -1}, "no seed"),
        ({"prompt": PROMPT, "frames": 21}, "1 to 20"),
        ({"prompt": PROMPT, "frames": 2.5}, "2.5 frames"),
        ({"prompt": PROMPT, "fps": 0}, "0 frames a second"),
    ],
)
def test_what_is_no_question_says_why(painter, asked, problem):
    (answer,) = painter.predict([asked])
    assert problem in answer["problem"]
    assert answer["clip"] is None


def test_unknown_options_are_refused(painter):
    with pytest.raises(UsageError, match="loops"):
        painter.predict([{"prompt": PROMPT}], loops=3)


def test_plain_diffusers_makes_the_same_latents(folder, painter):
    from diffusers import DiffusionPipeline

    plain = DiffusionPipeline.from_pretrained(folder)
    assert type(plain).__name__ == "WanPipeline"
    theirs = plain(
        PROMPT, negative_prompt="", num_frames=5, height=16, width=16, num_inference_steps=2, guidance_scale=3.0,
        generator=[torch.Generator().manual_seed(7)], max_sequence_length=16, output_type="pt",
    ).frames  # fmt: skip
    ours = painter.generator.generate([PROMPT], seeds=[7], steps=2, guidance=3.0, sampler="euler", shape=(4, 3, 4, 4))
    assert (theirs[0].transpose(0, 1) - ours[0]).abs().max() < 0.02
