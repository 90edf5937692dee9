"""Square pictures prepared by a table: the processor's own floats, to the bit."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

from components.engines.images.squares import Squares


def picture(width, height, seed=0, mode="RGB"):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(
        mode
    )


def clip(**changes):
    return CLIPImageProcessorPil(**{"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"size": {"height": 24, "width": 24}},
        {"resample": 2},
        {"do_center_crop": False},
        {"do_normalize": False},
        {"do_rescale": False},
        {"image_mean": [0.1, 0.2, 0.3], "image_std": [1.0, 2.0, 3.0]},
    ],
)
@pytest.mark.parametrize("px", [24, 64, 7])
def test_squares_are_the_processors_own_floats(changes, px):
    processor, pictures = clip(**changes), [picture(px, px, seed) for seed in range(3)]
    squares = Squares(processor)
    assert all(squares.take(one) for one in pictures)
    expected = processor(images=pictures, return_tensors="pt")["pixel_values"]
    made = squares.pixels(pictures)
    assert made.dtype == torch.float32
    assert torch.equal(made, expected.float())


def test_every_level_of_every_channel_is_in_the_table():
    levels = np.stack([np.arange(576) % 256] * 3, 1).reshape(24, 24, 3).astype(np.uint8)
    shown = [Image.fromarray(levels), Image.fromarray(levels[..., ::-1].copy())]
    assert torch.equal(Squares(clip()).pixels(shown), clip()(images=shown, return_tensors="pt")["pixel_values"])


def test_other_pictures_and_processors_are_left_to_the_processor():
    squares = Squares(clip())
    assert not squares.take(picture(24, 25))
    assert not squares.take(picture(24, 24, mode="L"))
    assert not squares.take(picture(24, 24, mode="RGBA"))
    for changes in (
        {"crop_size": {"height": 20, "width": 20}},
        {"crop_size": {"height": 24, "width": 20}},
        {"size": {"height": 24, "width": 20}},
        {"size": {"shortest_edge": 24, "longest_edge": 30}},
        {"do_resize": False},
        {"do_pad": True, "pad_size": {"height": 30, "width": 30}},
    ):
        assert not Squares(clip(**changes)).take(picture(24, 24))
