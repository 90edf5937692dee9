"""Clips of every kind as people have them: read, turned, resampled, or refused with the reason, in bounded memory."""

import tracemalloc

import numpy as np
import pytest

from components.engines.base.errors import BadRecord
from components.engines.videos.decode import VideoLimits, decode_clip, open_clip
from components.engines.videos.encode import encode_mp4, encode_webp
from tests.engines.videos.clip_files import PX, moving, sound, turned, write

MKV = write(moving(), format="matroska")
HEADER = MKV[: MKV.index(b"\x1fC\xb6u")]  # all before the first cluster of frames
LIMITS = VideoLimits(max_seconds=60)


def read(data, limits=LIMITS, **options):
    with open_clip(data, limits) as clip:
        return np.stack(list(clip.frames(**options)))


def reason(data, limits=LIMITS, **options):
    with pytest.raises(BadRecord) as caught:
        read(data, limits, **options)
    return caught.value.reason


def near(made, frames, levels=8.0):
    return made.shape == frames.shape and np.abs(made.astype(float) - frames).mean() < levels


@pytest.mark.parametrize(
    ("format", "codec", "pix_fmt"),
    [
        ("mp4", "libx264", "yuv420p"),
        ("matroska", "libx264", "yuv420p"),
        ("webm", "libvpx-vp9", "yuv420p"),
        ("avi", "mpeg4", "yuv420p"),
        ("gif", "gif", "rgb8"),
        ("mov", "qtrle", "rgb24"),
    ],
)
def test_every_container_that_people_have(format, codec, pix_fmt):
    given = "rgb24"
    frames = moving()
    assert near(read(write(frames, format=format, codec=codec, pix_fmt=pix_fmt, given=given)), frames, 16.0)


def test_ten_bits_become_eight():
    assert near(read(write(moving(), pix_fmt="yuv420p10le")), moving())


def test_what_is_transparent_shows_white():
    frames = np.concatenate([moving(3), np.zeros((3, PX, PX, 1), np.uint8)], -1)  # nothing is opaque
    made = read(write(frames, format="mov", codec="qtrle", pix_fmt="argb", given="rgba"))
    assert (made == 255).all()


def test_a_phone_held_upright_is_shown_upright():
    frames = moving(px=PX)[:, :16]  # wider than high
    upright = read(turned(write(frames)))
    assert upright.shape == (9, PX, 16, 3)
    assert near(upright, np.rot90(frames, -1, (1, 2)))


def test_uneven_durations_become_a_steady_rate():
    frames = moving(4)
    data = write(frames, pts=[0, 100, 500, 600])  # the second frame is shown four times as long
    made = read(data, fps=10)
    assert near(made[:6], frames[[0, 1, 1, 1, 1, 2]])
    assert len(read(write(moving(30), fps=30), fps=8)) == 8


def test_frames_are_made_small_and_keep_their_shape():
    assert read(write(moving(px=64)[:, :32]), px=16).shape == (9, 8, 16, 3)


def test_one_frame_is_a_clip_of_one_frame():
    assert near(read(write(moving(1))), moving(1))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html><title>404 Not Found</title>", "not a clip"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", "not a clip"),  # a playlist would have us read that file
        (sound(), "no video"),
        (HEADER, "no frames"),
        (write(moving())[:900], "damaged clip"),
    ],
)
def test_what_is_no_clip_says_why(data, expected):
    assert reason(data) == expected


def test_a_clip_cut_short_is_damaged_whatever_its_container():
    whole = write(moving(60), format="matroska", options={"g": "5"})
    assert reason(whole[: len(whole) // 2]) == "damaged clip"


def test_an_mp4_that_lost_its_end_is_refused_whatever_of_its_index_is_left():
    whole = write(moving(20))
    after = len(whole) - whole.index(b"udta")  # what a title would stand in: no frame hangs on it
    reasons = {lost: reason(whole[:-lost]) for lost in range(after + 8, len(whole) - 12)}
    assert {lost: why for lost, why in reasons.items() if why not in {"damaged clip", "no frames"}} == {}


def test_limits_are_kept_before_anything_is_decoded():
    large = write(moving(1, px=64))
    assert reason(large, VideoLimits(max_pixels=32 * 32)) == "too many pixels"
    assert reason(large, VideoLimits(max_bytes=100)) == "too many bytes"
    assert reason(write(moving(9), fps=1), VideoLimits(max_seconds=5)) == "too long"


def test_a_header_of_8k_is_believed():
    data = write(np.zeros((1, 4320, 7680, 3), np.uint8), options={"preset": "ultrafast"})
    assert reason(data) == "too many pixels"


def test_memory_does_not_grow_with_the_length():
    def peak(count):
        data = write(np.repeat(moving(9, px=128), count // 9 + 1, 0)[:count])
        tracemalloc.start()
        with open_clip(data, LIMITS) as clip:
            for _ in clip.frames(px=64, fps=8):
                pass
        found = tracemalloc.get_traced_memory()[1] - len(data)
        tracemalloc.stop()
        return found

    assert peak(270) < peak(27) + 200_000


def test_what_is_written_is_the_same_bytes_again_and_reads_back():
    assert len({encode_mp4(moving(), 8) for _ in range(50)}) == 1
    assert near(decode_clip(encode_mp4(moving(), 8)), moving())
    assert encode_webp(moving(), 8)[:4] == b"RIFF"
