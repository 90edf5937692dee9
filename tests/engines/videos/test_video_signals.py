"""What is told of clips without a model: shots, motion and its direction, colour, text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.engines.videos.buckets import Bucket, bucket_of, fitted, resized, to_frames
from components.engines.videos.cuts import changes, cuts
from components.engines.videos.signals import (
    colourfulness,
    directions_told,
    flow,
    jerkiness,
    motion,
    motion_fit,
    text_strokes,
)
from tests.engines.videos.clip_files import moving


def shots(*parts):
    return cuts(list(changes(np.concatenate(parts))), threshold=6.0, ratio=3.0)


def test_a_cut_is_found_where_it_is_and_motion_is_none():
    other = 255 - moving(8)
    assert shots(moving(9), other) == [9]
    assert shots(moving(9)) == []
    assert shots(moving(9), other, moving(7)) == [9, 17]


def test_a_still_picture_does_not_move():
    assert motion(moving()) > 0.02
    assert motion(np.repeat(moving(1), 9, 0)) == 0
    assert motion(moving(1)) == 0


@pytest.mark.parametrize(("turns", "name"), [(0, "right"), (1, "up"), (2, "left"), (3, "down")])
def test_flow_is_where_things_go_in_sides_a_frame(turns, name):
    moved = flow(np.rot90(moving(9, px=64), turns, (1, 2)))
    assert np.abs(moved).max(1) == pytest.approx(np.full(8, 2 / 64), rel=0.2)
    assert motion_fit(f"a square moves {name}", moved) > 0.95
    opposite = {"right": "left", "left": "right", "up": "down", "down": "up"}[name]
    assert motion_fit(f"a square moves {opposite}", moved) < -0.95


def test_flow_sees_what_differs_in_colour_alone():
    frames = np.full((5, 64, 64, 3), (94, 94, 94), np.uint8)  # as bright as the red
    for place, frame in enumerate(frames):
        frame[20:40, 10 + 2 * place : 30 + 2 * place] = (220, 40, 40)
    assert motion_fit("moves right", flow(frames)) > 0.9


def test_directions_are_told_in_their_order_and_nothing_told_is_no_fit():
    assert directions_told("goes upwards, then turns LEFT; leftover") == ["up", "left"]
    assert motion_fit("a red square", flow(moving())) is None
    assert motion_fit("moves left", np.zeros((8, 2))) is None


def test_each_direction_is_compared_with_its_part_of_the_time():
    there_and_up = np.array([[0, 0.1]] * 4 + [[-0.1, 0]] * 4)
    assert motion_fit("moves right, then turns up", there_and_up) == pytest.approx(1)
    assert motion_fit("moves right, then turns down", there_and_up) == pytest.approx(-1)


def test_jerks_are_changes_of_the_flow():
    steady, uneven = np.tile([0, 0.1], (8, 1)), np.tile([[0, 0.2], [0, 0.0]], (4, 1))
    assert jerkiness(steady) == pytest.approx(0)
    assert jerkiness(uneven) == pytest.approx(2)


def test_grey_has_no_colour():
    red = moving()
    red[..., 1:] = 0
    assert colourfulness(moving()) == pytest.approx(0, abs=1e-3)
    assert colourfulness(red) > 30


def test_text_is_told_from_what_moves():
    from PIL import Image, ImageDraw

    frames = []
    for frame in moving(9, px=64):
        picture = Image.fromarray(frame)
        ImageDraw.Draw(picture).text((2, 50), "BREAKING", fill="white", stroke_width=1, stroke_fill="black")
        frames.append(np.asarray(picture))
    assert text_strokes(np.stack(frames)) > 4
    assert text_strokes(moving(9, px=64)) < 2.1


BUCKETS = [
    Bucket(frames=1, height=16, width=16),
    Bucket(frames=5, height=16, width=16, stride=2),
    Bucket(frames=5, height=16, width=32, stride=2),
]


def test_a_video_goes_to_the_longest_bucket_it_fills_and_the_nearest_shape():
    assert bucket_of(9, 48, 48, BUCKETS) == BUCKETS[1]
    assert bucket_of(30, 48, 80, BUCKETS) == BUCKETS[2]
    assert bucket_of(8, 48, 80, BUCKETS) == BUCKETS[0]
    assert bucket_of(8, 48, 80, BUCKETS[1:]) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(9, 20), st.integers(8, 70), st.integers(8, 70), st.sampled_from(BUCKETS))
def test_fitted_frames_have_the_buckets_shape_and_range(frames, height, width, bucket):
    made = fitted(np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), np.uint8), bucket)
    assert made.shape == (3, bucket.frames, bucket.height, bucket.width)
    assert made.abs().max() <= 1


def test_the_middle_is_taken_in_time_and_space_and_comes_back_as_it_was():
    frames = moving(11, px=32)
    made = fitted(frames, Bucket(frames=5, height=32, width=32, stride=2))
    np.testing.assert_array_equal(to_frames(made / 2 + 0.5), frames[1:10:2])
    np.testing.assert_array_equal(to_frames(resized(frames, 32, 16) / 2 + 0.5), frames[:, :, 8:24])
