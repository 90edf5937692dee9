"""Every kind of image file, and of what only looks like one: a picture comes out, or the reason why none does."""

import contextlib
import io
import struct

import numpy as np
import pytest
from PIL import Image, features

from components.engines.base.errors import BadRecord
from components.engines.images.decode import Limits, decode_image, encode_png, shrink
from components.engines.worlds.captioned import bomb, rotated

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def saved(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def whole(format="PNG", **options):
    return saved(Image.fromarray(PICTURE), format, **options)


def decoded(data, **limits):
    image = decode_image(data, Limits(**limits))
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG"])
def test_formats_are_told_by_their_bytes(format):
    options = {"lossless": True} if format == "WEBP" else {"quality": 95, "subsampling": 0} if format == "JPEG" else {}
    far = {"JPEG": 30, "GIF": 120}.get(format, 0)  # a GIF has 256 colours for 600 pixels
    assert abs(decoded(whole(format, **options)) - PICTURE).max() <= far


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
def test_avif_where_pillow_can():
    flat = Image.new("RGB", (32, 32), (200, 40, 60))
    assert abs(decoded(saved(flat, "AVIF")) - (200, 40, 60)).max() < 12


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"<html>404</html>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "not an image"),
        (whole()[: len(whole()) // 2], "damaged image"),
        (whole("JPEG", quality=95)[:700], "damaged image"),
        (whole("GIF")[:-200], "damaged image"),
        (bomb(50_000), "too many pixels"),
        (bomb(9_000), "too many pixels"),
        (bomb(100), "damaged image"),
    ],
)
def test_what_cannot_be_a_picture_says_why(data, reason):
    with pytest.raises(BadRecord) as bad:
        decode_image(data, Limits())
    assert bad.value.reason == reason


def test_limits_are_params():
    with pytest.raises(BadRecord, match="too many bytes"):
        decoded(whole(), max_bytes=100)
    with pytest.raises(BadRecord, match="too many pixels: 30 x 20"):
        decoded(whole(), max_pixels=599)
    assert decoded(whole(), max_pixels=600).shape == (20, 30, 3)


def test_bytes_changed_anywhere_never_break_the_decoder():
    for format in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"):
        data = whole(format)
        for place in RNG.integers(0, len(data), 60):
            broken = bytearray(data)
            broken[place] ^= int(RNG.integers(1, 256))
            with contextlib.suppress(BadRecord):
                decode_image(bytes(broken), Limits(max_pixels=10_000))


def test_exif_orientation_is_applied_and_broken_exif_ignored():
    smooth = np.zeros((24, 24, 3), np.uint8)
    smooth[:12, :12] = (250, 0, 0)
    assert abs(decoded(rotated(smooth)) - smooth).mean() < 5
    assert abs(np.asarray(Image.open(io.BytesIO(rotated(smooth)))).astype(int) - smooth).mean() > 30
    broken = saved(Image.fromarray(smooth), "JPEG", exif=b"Exif\x00\x00MM\x00*" + b"\xff" * 20)
    assert abs(decoded(broken) - smooth).mean() < 5


def test_what_is_transparent_is_white():
    layered = np.dstack([PICTURE, np.where(np.arange(30) < 15, 255, 0).astype(np.uint8)[None].repeat(20, 0)])
    shown = decoded(saved(Image.fromarray(layered), "PNG"))
    assert (shown[:, :15] == PICTURE[:, :15]).all()
    assert (shown[:, 15:] == 255).all()


def test_palettes_with_a_transparent_colour():
    indexed = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8))
    indexed.putpalette([10, 20, 30, 200, 100, 50])
    plain, clear = saved(indexed, "PNG"), saved(indexed, "PNG", transparency=1)
    assert decoded(plain)[0].tolist() == [[10, 20, 30], [200, 100, 50]]
    assert decoded(clear)[0].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_sixteen_bit_greys_are_scaled_not_clipped():
    deep = np.array([[0, 256 * 64, 65535]], np.uint16)
    assert decoded(saved(Image.fromarray(deep), "PNG"))[0, :, 0].tolist() == [0, 64, 255]
    assert (
        decoded(saved(Image.fromarray(np.array([[0.0, 100.0, np.nan]], np.float32)), "TIFF"))[0, 1].tolist()
        == [100] * 3
    )


def test_cmyk_is_what_it_looks_like():
    flat = Image.new("RGB", (16, 16), (200, 40, 60))
    assert abs(decoded(saved(flat.convert("CMYK"), "JPEG", quality=95))[8, 8] - [200, 40, 60]).max() < 12


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    assert decoded(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))[4, 4].tolist() == [255, 0, 0]


def test_one_bit_and_grey_with_alpha():
    assert decoded(saved(Image.new("1", (4, 4), 1), "PNG")).min() == 255
    assert decoded(saved(Image.new("LA", (4, 4), (9, 255)), "PNG")).max() == 9


def test_shrinking_keeps_the_aspect_and_never_enlarges():
    image = Image.fromarray(PICTURE)
    assert shrink(image, 15).size == (15, 10)
    assert shrink(image, 30) is image
    assert shrink(Image.new("RGB", (2000, 1)), 10).size == (10, 1)


def test_equal_pictures_are_equal_bytes():
    tagged = Image.open(io.BytesIO(whole(pnginfo=None)))
    tagged.info["dpi"] = (72, 72)
    assert encode_png(decode_image(whole(), Limits())) == encode_png(Image.fromarray(PICTURE))
    assert struct.unpack(">II", encode_png(Image.fromarray(PICTURE))[16:24]) == (30, 20)


GREYS = np.linspace(0, 1, 600).reshape(20, 30)


@pytest.mark.parametrize(
    ("values", "brightest"),
    [
        (GREYS.astype(np.float32), 255),
        ((GREYS * 1.05).astype(np.float32), 255),  # sharpened
        ((GREYS * 255).astype(np.float32), 255),
        ((GREYS * 260).astype(np.float32), 255),
        ((GREYS * 65535).astype(np.float32), 255),
        ((GREYS * 65535).astype(np.uint16), 255),
        ((GREYS * 4095).astype(np.uint16), 16),
        (np.zeros((20, 30), np.float32), 0),
        ((GREYS * 2 - 1).astype(np.float32), None),
        ((GREYS * 4000).astype(np.float32), None),
        ((GREYS > 0.5).astype(np.int32), None),
        ((GREYS > 0.5).astype(np.uint16), None),
        ((GREYS * 2**30).astype(np.int32), None),
        (np.full((20, 30), np.nan, np.float32), None),
    ],
)
def test_ranges_of_greys_are_scaled_or_refused_never_black(values, brightest):
    data = saved(Image.fromarray(values), "TIFF")
    if brightest is None:
        with pytest.raises(BadRecord, match="unknown range of values"):
            decoded(data)
    else:
        assert decoded(data).max() == brightest
