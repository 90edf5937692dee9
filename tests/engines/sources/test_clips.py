"""Captioned clips: tables, WebDataset tars and folders of clips, with captions or without."""

import io
import tarfile

import pytest

from components.engines.base.errors import UsageError
from components.engines.base.funnel import Funnel
from components.engines.sources.captioned import CLIPS, captioned_inputs, read_captioned

FIELDS = {"clip": "file", "caption": "caption"}


def read(source, fields=FIELDS, **options):
    funnel, bad = Funnel(), []
    found = read_captioned(
        str(source), fields=fields, max_bytes=100, medium=CLIPS, funnel=funnel, on_bad=bad.append, **options
    )
    return [(one.name, one.image, one.caption) for one in found], bad


@pytest.fixture
def folder(tmp_path):
    for name in ("a.mp4", "b.mkv", "c.gif"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_a_table_names_clips_and_its_captions_may_be_missing(folder):
    (folder / "table.csv").write_text("file,caption\na.mp4,one\nc.gif,\nnone.mp4,three\n")
    found, bad = read(folder / "table.csv")
    assert found == [("a.mp4", b"a.mp4", "one"), ("c.gif", b"c.gif", "")]
    assert [one["reason"] for one in bad] == ["missing image file"]


def test_a_folder_of_clips_has_captions_in_texts_of_the_same_name(folder):
    (folder / "b.txt").write_text("the second\n")
    found, bad = read(folder)
    assert found == [("a.mp4", b"a.mp4", ""), ("b.mkv", b"b.mkv", "the second"), ("c.gif", b"c.gif", "")]
    assert not bad
    assert [name for name, *_ in read(folder / "*.mp4")[0]] == ["a.mp4"]
    assert [caption for *_, caption in read(folder, {"clip": "clip"})[0]] == ["", "", ""]  # they are not wanted


def test_tars_hold_clips_and_a_still_beside_a_clip_is_its_thumbnail(tmp_path):
    members = {
        "0.mp4": b"clip",
        "0.jpg": b"thumbnail",
        "0.txt": b"said",
        "1.webm": b"other",
        "2.png": b"still",
        "2.json": b"{}",
    }
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    found, bad = read(tmp_path / "0.tar")
    assert found == [("0.mp4", b"clip", "said"), ("1.webm", b"other", ""), ("2.png", b"still", "")]
    assert not bad
    assert [caption for *_, caption in read(tmp_path / "0.tar", {"clip": "clip"})[0]] == ["", "", ""]


def test_what_is_read_is_part_of_the_key(folder, tmp_path):
    (folder / "a.txt").write_text("said")
    inputs = captioned_inputs(str(folder), tmp_path, None, format=None, fields=FIELDS, images=None, medium=CLIPS)
    assert sorted(one.name for one in inputs["source"]) == ["a.mp4", "a.txt", "b.mkv", "c.gif"]


def test_a_folder_without_clips_says_so(tmp_path):
    (tmp_path / "notes.doc").write_text("nothing")
    with pytest.raises(UsageError, match=r"suffix \.doc"):
        read(tmp_path)


def test_links_out_of_a_folder_of_clips_are_quarantined_and_one_that_is_named_is_read(folder, tmp_path_factory):
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.txt"
    secret.write_text("a secret")
    (folder / "out.mp4").symlink_to(secret)
    (folder / "b.txt").symlink_to(secret)  # a caption
    (folder / "within.mp4").symlink_to(folder / "a.mp4")
    (folder / "gone.mp4").symlink_to(folder / "nowhere.mp4")
    for source in (folder, folder / "*.m*"):
        found, bad = read(source)
        assert [name for name, *_ in found if name != "c.gif"] == ["a.mp4", "within.mp4"]
        assert {one["file"]: one["reason"] for one in bad}.items() >= {
            "out.mp4": "unsafe path",
            "b.mkv": "unsafe path",
        }.items()
        assert "secret" not in str(bad)
    assert read(folder / "out.mp4") == ([("out.mp4", b"a secret", "")], [])
