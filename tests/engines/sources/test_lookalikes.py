"""Copies are found after being saved with loss, made brighter or resized; different pictures of one kind are not."""

import io

import numpy as np
from PIL import Image

from components.engines.sources.lookalikes import Lookalikes, Print
from components.engines.worlds.scenes import paint, scenes

POOL = scenes(held_out=False)


def picture(number, px=64):
    return Image.fromarray(paint(POOL[number % len(POOL)], px, np.random.default_rng(number)))


def resaved(image, brighter=3, quality=95):
    buffer = io.BytesIO()
    pixels = (np.asarray(image).astype(int) + brighter).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def entered(numbers):
    found = Lookalikes(max_bits=10, max_levels=24)
    for number in numbers:
        found.add(f"{number}", Print.of(picture(number)))
    return found


def test_an_equal_picture_is_found_as_equal():
    assert entered(range(20)).find(Print.of(picture(7))) == ("7", True)


def test_changed_copies_are_found_as_alike():
    known = entered(range(100))
    found = [known.find(Print.of(resaved(picture(number)))) for number in range(100)]
    assert found.count(None) <= 2
    assert all(hit is None or hit == (f"{number}", False) for number, hit in enumerate(found))
    assert known.find(Print.of(picture(5).resize((60, 60), Image.Resampling.LANCZOS)))[0] == "5"


def test_other_pictures_of_the_same_scene_are_not_copies():
    known = entered(range(2000))
    others = [Image.fromarray(paint(POOL[n % len(POOL)], 64, np.random.default_rng(10**6 + n))) for n in range(300)]
    assert sum(known.find(Print.of(other)) is not None for other in others) <= 3


def test_flat_pictures_of_different_colours_are_not_alike():
    known = Lookalikes(max_bits=10, max_levels=24)
    known.add("red", Print.of(Image.new("RGB", (32, 32), "red")))
    assert known.find(Print.of(Image.new("RGB", (32, 32), "blue"))) is None
    assert known.find(Print.of(Image.new("RGB", (40, 40), (250, 3, 0)))) == ("red", False)


def test_a_print_is_written_and_read_back():
    print_ = Print.of(picture(3))
    assert Print.from_dict(print_.as_dict()) == print_
