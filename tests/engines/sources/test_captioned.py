"""Captioned images from tables, tars and data sets; what is broken or unsafe is counted and left out."""

import io
import json
import os
import tarfile

import numpy as np
import pandas
import pytest
from PIL import Image

from components.engines.base.errors import StageError, UsageError
from components.engines.base.funnel import Funnel
from components.engines.sources.captioned import CaptionedImage, read_captioned


def png(shade=0):
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), shade, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def read(source, fields=None, **options):
    bad, funnel = [], Funnel()
    settings = {"max_bytes": 10_000} | options
    found = list(read_captioned(str(source), fields=fields or {}, funnel=funnel, on_bad=bad.append, **settings))
    assert sum(funnel.quarantined.values()) == len(bad)
    return found, [row["reason"] for row in bad]


def tar_of(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pictures/deep").mkdir(parents=True)
    (tmp_path / "pictures/a.png").write_bytes(png(1))
    (tmp_path / "pictures/deep/b.png").write_bytes(png(2))
    (tmp_path / "secret.png").write_bytes(png(3))
    rows = [("a.png", "an a"), ("deep/b.png", "a b"), ("gone.png", "c"), ("../secret.png", "d"), ("/etc/passwd", "e")]
    pandas.DataFrame(rows, columns=["file", "words"]).to_csv(tmp_path / "pictures/table.csv", index=False)
    return tmp_path / "pictures"


FIELDS = {"image": "file", "caption": "words"}


def test_a_folder_with_a_table_of_captions(folder):
    wanted = [CaptionedImage(png(1), "an a", "a.png"), CaptionedImage(png(2), "a b", "deep/b.png")]
    refused = ["missing image file", "unsafe path", "unsafe path"]
    for source in (folder, folder / "table.csv", folder / "*.csv"):
        assert read(source, FIELDS) == (wanted, refused)


def test_images_elsewhere_than_their_table(folder, tmp_path):
    os.rename(folder / "table.csv", tmp_path / "table.csv")
    found, _ = read(tmp_path / "table.csv", FIELDS, images=str(folder))
    assert [one.name for one in found] == ["a.png", "deep/b.png"]
    assert [one.name for one in read(tmp_path / "table.csv", FIELDS, images=folder.as_uri())[0]] == [
        "a.png",
        "deep/b.png",
    ]


def test_no_more_of_an_image_is_read_than_will_be_refused(folder):
    found, _ = read(folder, FIELDS, max_bytes=20)
    assert [len(one.image) for one in found] == [21, 21]


def test_parquet_with_bytes_and_as_datasets_writes_them(tmp_path):
    cells = [png(1), {"bytes": png(2), "path": "two.png"}, {"bytes": None, "path": None}]
    for number, cell in enumerate(cells):
        pandas.DataFrame({"image": [cell], "caption": ["x"]}).to_parquet(tmp_path / f"{number}.parquet")
    found, bad = read(tmp_path)
    assert [(one.image, one.name) for one in found] == [(png(1), ""), (png(2), "two.png")]
    assert bad == ["missing field"]


def test_a_saved_data_set_stays_undecoded(tmp_path):
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature

    rows = {"image": [{"bytes": png(5), "path": None}], "caption": ["five"]}
    Dataset.from_dict(rows, Features({"image": ImageFeature(), "caption": Value("string")})).save_to_disk(
        tmp_path / "set"
    )
    assert read(tmp_path / "set")[0] == [CaptionedImage(png(5), "five", "")]


@pytest.mark.parametrize(("name", "mode"), [("00000.tar", "w"), ("00000.tar.gz", "w:gz")])
def test_tars_as_img2dataset_writes_them(tmp_path, name, mode):
    members = [
        ("000000001.jpg", png(1)),
        ("000000001.txt", "one ★".encode()),
        ("000000001.json", json.dumps({"caption": "not this", "url": "x"}).encode()),
        ("000000002.json", json.dumps({"caption": "two"}).encode()),
        ("000000002.PNG", png(2)),
        ("deep/000000003.webp", b""),
        ("deep/000000003.txt", b"empty"),
    ]
    found, bad = read(tar_of(tmp_path / name, members, mode))
    assert [(one.caption, one.image, one.name) for one in found] == [
        ("one ★", png(1), "000000001.jpg"),
        ("two", png(2), "000000002.png"),
        ("empty", b"", "deep/000000003.webp"),
    ]
    assert not bad


def test_unsafe_and_broken_members_are_refused_and_the_rest_is_read(tmp_path):
    members = [
        ("../../evil.png", png()),
        ("/abs.png", png()),
        ("link.png", None),
        ("big.png", bytes(20_000)),
        ("bad.png", png()),
        ("bad.txt", b"\xff\xfe\xff"),
        ("worse.png", png()),
        ("worse.json", b"{oops"),
        ("lonely.txt", b"a caption"),
        ("silent.png", png()),
        ("good.png", png(9)),
        ("good.txt", b"good"),
    ]
    found, bad = read(tar_of(tmp_path / "a.tar", members))
    assert [one.caption for one in found] == ["good"]
    assert sorted(bad) == sorted(
        ["unsafe member name"] * 2
        + ["member is no file", "too many bytes", "broken UTF-8", "invalid JSON", "missing field", "missing field"]
    )
    assert not (tmp_path.parent / "evil.png").exists()


def test_a_tar_cut_short_is_an_error_not_fewer_samples(tmp_path):
    path = tar_of(tmp_path / "a.tar", [(f"{n}.{kind}", png() * 20) for n in range(5) for kind in ("png", "txt")])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StageError, match="cut short"):
        read(path)
    (tmp_path / "b.tar").write_bytes(b"<html>not found</html>")
    with pytest.raises(StageError, match="cut short"):
        read(tmp_path / "b.tar")


def test_globs_of_tars_and_limits(tmp_path):
    for number in range(3):
        tar_of(tmp_path / f"{number}.tar", [(f"{number}.png", png()), (f"{number}.txt", b"x")])
    assert [one.name for one in read(tmp_path / "*.tar")[0]] == ["0.png", "1.png", "2.png"]
    assert [one.name for one in read(tmp_path / "*.tar", limit=2)[0]] == ["0.png", "1.png"]
    with pytest.raises(UsageError, match="does not exist"):
        read(tmp_path / "nothing.tar")
