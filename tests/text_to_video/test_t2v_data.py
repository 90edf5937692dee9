"""From clips as people have them to curated ones: what is caught, what is kept, and that the counts add up."""

import csv
import io
import json
import shutil
import subprocess
import sys

import av
import numpy as np
import pytest

from components.engines.base.paths import read_json
from components.engines.shards.manifest import read_manifest
from components.engines.videos.dataset import Videos
from components.engines.videos.encode import encode_mp4
from components.engines.videos.signals import flow, motion_fit
from components.text_to_video.world.motion import ATTRIBUTES, Motion, describe, draw, is_possible, motions, paint, path
from components.text_to_video.world.records import PX, draw_records, times
from tests.engines.videos.clip_files import moving, sound, turned, write
from tests.text_to_video.small import small


def videos(room, folder):
    """Of a few files all of one split may be refused: then it is not there."""
    return [one for split in read_manifest(room.data / folder).splits for one in Videos(room.data / folder, split)]


def test_another_process_writes_the_same_clips():
    """By its bytes a clip goes to a split. x264's assembly reads what lies beside a small picture: every writer goes without."""
    script = """
import hashlib
from components.text_to_video.world.records import draw_records
files = [one.clip for one in draw_records(150, seed=1, bad_files=0.4, odd_files=0.8, dirt=0.3)]
print(len(files), hashlib.sha256(b"".join(files)).hexdigest())
"""
    run = [sys.executable, "-c", script]
    said = {subprocess.run(run, check=True, capture_output=True, text=True).stdout for _ in range(2)}
    assert len(said) == 1
    assert said.pop().startswith("150 ")


@pytest.mark.parametrize("direction", ATTRIBUTES["direction"])
def test_scenes_move_as_their_captions_say(direction):
    for turn in ATTRIBUTES["turn"]:
        scene = Motion("red", "circle", direction, "fast", turn)
        if is_possible(scene):
            moved = flow(paint(scene, PX, times(), np.random.default_rng(0)))
            assert all(motion_fit(describe(scene, phrasing), moved) > 0.9 for phrasing in range(4))


def test_training_never_sees_what_is_held_out():
    every = {
        kind: {*motions(held_out=kind, turning=False), *motions(held_out=kind, turning=True)} for kind in (False, True)
    }
    assert not every[False] & every[True]
    share = len(every[True]) / sum(map(len, every.values()))
    assert 0.1 < share < 0.3
    rng = np.random.default_rng(0)
    assert not any(draw(rng).is_held_out for _ in range(50))


def test_the_world_is_a_function_of_its_seed():
    def drawn(seed):
        return [one.clip for one in draw_records(6, seed=seed, bad_files=0.2, odd_files=0.3, dirt=0.3)]

    assert drawn(1) == drawn(1) != drawn(2)


def test_bad_files_go_odd_ones_stay_and_cuts_are_found(t2v_data):
    figures = read_json(t2v_data.reports / "cleaning.json")
    assert figures["bad_files_recall"] == figures["bad_files_precision"] == 1
    assert set(figures["odd_files_kept"].values()) == {1}
    assert figures["cut_recall"] == 1
    assert figures["cut_precision"] >= 0.5
    refused = sum(figures["rejected"].values()) + sum(figures["quarantined"].values())
    assert figures["seen"] == figures["kept"] + refused == 92


def test_what_is_cleaned_is_of_one_rate_and_kind_and_shots_of_a_cut_clip_have_no_caption(t2v_data):
    for one in videos(t2v_data, "cleaned"):
        with av.open(io.BytesIO(one.clip)) as clip:
            assert clip.streams.video[0].average_rate == 16
        frames = one.frames()
        known = [one.metadata[name] for name in ("frames", "height", "width")]
        assert list(frames.shape[:3]) == known == [known[0], PX, PX]
        assert not (one.metadata["shots"] > 1 and one.caption)


def test_filters_find_the_dirt_and_their_scores_are_kept_for_all(t2v_data):
    figures = read_json(t2v_data.reports / "filtering.json")
    assert figures["recall"] >= 0.95
    assert figures["precision"] >= 0.95
    with (t2v_data.reports / "filter_scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["key"] for row in rows} == {
        one.key for split in ("train", "valid") for one in Videos(t2v_data.data / "cleaned", split)
    }
    below = {row["key"] for row in rows if float(row["score"]) < figures["thresholds"][row["filter"]]}
    assert len(below) == figures["marked"]


def test_what_is_learnt_has_a_caption_and_no_mark_and_the_counts_add_up(t2v_data):
    funnel = read_manifest(t2v_data.data / "curated").funnel
    assert funnel.seen == funnel.kept + sum(funnel.rejected.values()) == len(videos(t2v_data, "cleaned"))
    assert {"no caption", "below motion", "below motion_fit"} <= funnel.rejected.keys()
    kept = videos(t2v_data, "curated")
    assert all(one.caption for one in kept)
    assert len(Videos(t2v_data.data / "curated", "test")) == 10


def test_lost_captions_are_written_from_the_flow(tmp_path, t2v_data):
    room = small(tmp_path, t2v_data, caption={"missing": "template", "template": "it moves {direction}"})
    room.run("caption")
    written = [one for one in videos(room, "curated") if "caption_by" in one.metadata]
    assert len(written) == read_json(room.reports / "curation.json")["captions_written"] > 0
    alone = [one for one in written if one.metadata["shots"] == 1 and one.metadata["frames"] > 1]
    assert alone
    assert all(motion_fit(one.caption, flow(one.frames())) > 0.9 for one in alone)


def test_lost_captions_are_written_by_a_captioner_of_pictures(tmp_path, t2v_data, monkeypatch):
    from types import SimpleNamespace

    from components.engines.generation import captioner

    class Double:
        @classmethod
        def load(cls, source):
            assert source == "the captioner"
            return cls()

        def to(self, device):
            return self

        def caption(self, pictures, decoding, scored):
            return [SimpleNamespace(text=f"a picture {one.width} wide") for one in pictures]

    monkeypatch.setattr(captioner, "ImageCaptioner", Double)
    room = small(tmp_path, t2v_data, caption={"missing": "captioner", "init_from": "the captioner"})
    room.run("caption")
    told = [
        one.caption for one in videos(room, "curated") if "caption_by" in one.metadata and one.metadata["frames"] > 1
    ]
    assert told
    assert all(one.startswith("a picture 64 wide, moving ") for one in told)


def clip_folder(folder):
    """Clips of every kind that issue 14 names, each with a caption."""
    wide = moving(20, px=64)[:, :32]
    files = {
        "sound.mp4": (sound(), "no video"),
        "cut.mp4": (write(moving(20))[:-900], "damaged clip"),
        "large.gif": (
            b"GIF89a\x00\x1e\xe0\x10" + write(moving(3), format="gif", codec="gif", pix_fmt="rgb8")[10:],
            "too many pixels",
        ),
        "page.mp4": (b"<html>", "not a clip"),
        "single.mp4": (write(moving(1)), None),
        "phone.mp4": (turned(write(wide)), None),
        "uneven.mp4": (write(moving(12), pts=[160 * n + (300 if n > 6 else 0) for n in range(12)]), None),
        "deep.mkv": (write(moving(20), format="matroska", pix_fmt="yuv420p10le"), None),
        "long.webm": (write(moving(90, px=128) * 0 + 90, format="webm", codec="libvpx-vp9"), None),
    }
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
        (folder / name).with_suffix(".txt").write_text(f"what {name} shows")
    return {name: reason for name, (_, reason) in files.items()}


def test_files_of_a_folder_are_kept_or_refused_with_the_reason(tmp_path):
    source = tmp_path / "clips"
    source.mkdir()
    expected = clip_folder(source)
    ingest = {"source": str(source), "valid_fraction": 0.3, "test_fraction": 0.3, "seed": 6}
    room = small(tmp_path / "room", ingest=ingest, clean={"max_bad_fraction": 1, "fps": 8})
    room.run_all("ingest", "clean")
    rows = [json.loads(line) for line in (room.data / "cleaned/quarantined.jsonl").read_text().splitlines()]
    refused = {json.loads(row["fields"]["json"])["name"]: row["reason"] for row in rows}
    assert refused == {name: reason for name, reason in expected.items() if reason}
    kept = {one.metadata["name"]: one for one in videos(room, "cleaned")}
    assert kept.keys() == {name for name, reason in expected.items() if not reason}
    assert kept["single.mp4"].metadata["frames"] == 1
    assert (kept["phone.mp4"].metadata["height"], kept["phone.mp4"].metadata["width"]) == (64, 32)
    assert kept["deep.mkv"].caption == "what deep.mkv shows"


def test_long_files_become_pieces_and_no_more_than_are_asked_for(tmp_path):
    source = tmp_path / "clips"
    source.mkdir()
    for name, level in (("a", 60), ("b", 120), ("c", 180)):
        (source / f"{name}.mp4").write_bytes(encode_mp4(np.full((70, 32, 32, 3), level, np.uint8), 8))
    ingest = {"source": str(source), "valid_fraction": 0.3, "test_fraction": 0.3, "seed": 6}
    room = small(tmp_path / "room", ingest=ingest, clean={"fps": 8, "max_frames": 20, "max_clips": 2})
    room.run_all("ingest", "clean")
    found = videos(room, "cleaned")
    assert sorted(one.metadata["frames"] for one in found) == [20] * 6
    assert len({one.key for one in found}) == 6
    shutil.rmtree(room.data)


@pytest.mark.parametrize("turn", ["straight", "up"])
def test_scenes_have_a_direction_in_time(turn):
    """Without it no distance could tell a clip from the same clip played backwards."""
    way = path(Motion("red", "circle", "left", "fast", turn), times())
    steps = np.linalg.norm(np.diff(way, axis=0), axis=1)
    assert (np.diff(np.delete(steps, len(steps) // 2)) < 0).all()
    assert steps.sum() == pytest.approx(0.5 * (times()[-1] - times()[0]))
