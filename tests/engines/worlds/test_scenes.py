"""The painted world: its truth is told, its shares are kept, and what is held out never reaches training."""

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from components.engines.worlds.captioned import BAD_FILES, ODD_FILES, draw_records, draw_test_records
from components.engines.worlds.scenes import (
    ATTRIBUTES,
    COLOURS,
    PHRASINGS,
    Scene,
    describe,
    differing,
    paint,
    says_just,
    scenes,
    words_told,
)

RED = Scene("red", "circle", "top left", "large", "plain")


def records(count=1500, **changes):
    settings = {"px": 32, "seed": 3, "wrong_captions": 0.3, "bad_files": 0.2} | changes
    return list(draw_records(count, **settings))


@pytest.mark.parametrize("px", [32, 64])
@pytest.mark.parametrize("scene", [RED, Scene("blue", "cross", "bottom right", "small", "striped")])
def test_a_picture_shows_its_scene(scene, px):
    picture = paint(scene, px, np.random.default_rng(0)).astype(int)
    assert picture.shape == (px, px, 3)
    near = abs(picture - np.array(COLOURS[scene.colour])).max(2) < 40
    ys, xs = np.nonzero(near)
    assert near.sum() > px * px / 200
    assert (ys.mean() < px / 2, xs.mean() < px / 2) == ("top" in scene.position, "left" in scene.position)


def test_size_and_texture_are_to_be_seen():
    def shown(**changes):
        scene = Scene(**{**RED.as_dict(), **changes})
        picture = paint(scene, 32, np.random.default_rng(1)).astype(int)
        return (abs(picture - np.array(COLOURS["red"])).max(2) < 40).sum()

    assert shown(size="large") > 2 * shown(size="small")
    assert shown(texture="plain") > 1.5 * shown(texture="striped")


def test_every_phrasing_names_every_attribute():
    for number in range(len(PHRASINGS)):
        caption = describe(RED, number)
        assert all(value in caption for value in RED.as_dict().values())
    assert len({describe(RED, number) for number in range(len(PHRASINGS))}) == len(PHRASINGS)


def test_differing_changes_exactly_one_attribute_and_in_time_each():
    rng = np.random.default_rng(0)
    changed = Counter()
    for _ in range(200):
        other = differing(RED, rng).as_dict()
        names = [name for name, value in RED.as_dict().items() if other[name] != value]
        assert len(names) == 1
        changed[names[0]] += 1
    assert set(changed) == set(ATTRIBUTES)


def test_a_fifth_of_all_combinations_is_held_out_of_training_and_shown_in_testing():
    seen, held_out = scenes(held_out=False), scenes(held_out=True)
    assert len(seen) + len(held_out) == 6 * 4 * 4 * 2 * 2
    assert not set(seen) & set(held_out)
    assert 0.15 < len(held_out) / (len(seen) + len(held_out)) < 0.25
    assert not any(record.scene.is_held_out for record in records())
    testing = list(draw_test_records(40, px=32, seed=0))
    assert sum(record.scene.is_held_out for record in testing) == 20
    assert {(record.said, record.file) for record in testing} == {("right", "fine")}


def test_dirt_comes_in_the_asked_share_and_says_what_it_is():
    drawn = records()
    said, files = Counter(r.said for r in drawn), Counter(r.file for r in drawn)
    assert 0.25 < 1 - said["right"] / len(drawn) < 0.35
    assert set(files) == {"fine", *BAD_FILES, *ODD_FILES}
    assert 0.15 < 1 - files["fine"] / len(drawn) < 0.25
    assert all(
        (r.caption in {describe(r.scene, n) for n in range(len(PHRASINGS))}) == (r.said == "right") for r in drawn
    )
    clean = records(100, wrong_captions=0, bad_files=0)
    assert {(r.said, r.file) for r in clean} == {("right", "fine")}


def test_the_same_seed_draws_the_same_bytes():
    assert records(100) == records(100)
    assert records(100) != records(100, seed=4)


def test_names_lie_only_where_they_are_said_to():
    for record in records():
        if record.file in {"fine", "rotated", "huge", "wrong extension"}:
            kind = Image.open(io.BytesIO(record.image)).format
            told = {"png": "PNG", "jpg": "JPEG"}[record.name.rsplit(".")[-1]]
            assert (kind != told) == (record.file == "wrong extension")


def test_a_caption_is_read_whatever_its_wording():
    for scene in scenes(held_out=False)[::7]:
        for number in range(len(PHRASINGS)):
            assert says_just(describe(scene, number).upper(), scene)
            other = differing(scene, np.random.default_rng(number))
            assert not says_just(describe(other, number), scene)
    assert words_told("a Red, small circle left of a rounded blue cross") == {
        "colour": ["red", "blue"], "shape": ["circle", "cross"], "position": [], "size": ["small"], "texture": [],
    }  # fmt: skip


@pytest.mark.parametrize("changed", [" and a dog", " red", "", " blue"])
def test_a_caption_with_more_or_less_says_something_else(changed):
    caption = describe(RED, 0)
    told = caption + changed if changed else caption.replace("large ", "")
    assert not says_just(told, RED)
    assert not says_just(caption.replace("top left", "left top"), RED)
