"""Captioned images from tables, tars and data sets; what is broken or unsafe is counted and left out."""

import gzip
import io
import json
import os
import tarfile
import unicodedata

import fsspec
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


SOUND = [member for n in range(3) for member in ((f"{n}.png", png(n)), (f"{n}.txt", b"caption"))]
CAPTION, PNG = b"x", png(9)
HARD_LINK, PIPE = "1", "6"  # types of members


def raw_tar(members, **options):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
            else:
                info.type, info.linkname = content.encode(), "0.png"
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


LONG = f"{'d' * 90}/{'e' * 90}/x"
TAR = raw_tar(SOUND)


@pytest.mark.parametrize(
    ("data", "kept", "bad"),
    [
        (raw_tar([*SOUND, (f"{LONG}.png", PNG), (f"{LONG}.txt", CAPTION)], format=tarfile.GNU_FORMAT), 4, []),
        (raw_tar([*SOUND, (f"{LONG}.png", PNG), (f"{LONG}.txt", CAPTION)], format=tarfile.PAX_FORMAT), 4, []),
        (raw_tar([*SOUND, ("h.png", HARD_LINK), ("h.txt", CAPTION)]), 3, ["member is no file"]),
        (raw_tar([*SOUND, ("h.png", PIPE), ("h.txt", CAPTION)]), 3, ["member is no file"]),
        (raw_tar([*SOUND, ("a/../../h.png", PNG), ("h.txt", CAPTION)]), 3, ["missing field", "unsafe member name"]),
        (raw_tar([*SOUND, ("..\\h.png", PNG)]), 3, ["unsafe member name"]),
        (raw_tar([*SOUND, *((f"./{name}", content) for name, content in SOUND[:2])]), 2, ["member occurs twice"] * 2),
        (raw_tar([*SOUND, ("A.png", PNG), ("A.txt", CAPTION), ("a.PNG", PNG), ("a.TXT", CAPTION)]), 5, []),
        (raw_tar([*SOUND, ("q.png", PNG), ("q.jpg", PNG), ("q.txt", CAPTION)]), 3, ["several images"]),
        (raw_tar([*SOUND, ("._0.png", PNG), ("__MACOSX/0.png", PNG), (".DS_Store", b"x")]), 3, []),
        (raw_tar([*SOUND, ("b.png", PNG), ("b.txt", "\ufeffcaption".encode())]), 4, []),
        (raw_tar([*SOUND, ("b.png", PNG), ("b.txt", "caption".encode("utf-16"))]), 3, ["broken UTF-8"]),
        (raw_tar([*SOUND, ("b.png", PNG), ("b.json", b'{"caption": ["a", "b"]}')]), 3, ["no text"]),
        (raw_tar([*SOUND, ("b.png", PNG), ("b.json", b"[" * 200_000)]), 3, ["invalid JSON"]),
        (TAR.rstrip(b"\0") + bytes(-len(TAR.rstrip(b"\0")) % 512 + 512), 3, []),
        (TAR + bytes(777), 3, []),
    ],
)
def test_tars_as_people_have_them(tmp_path, data, kept, bad):
    for name, content in (("a.tar", data), ("a.tgz", gzip.compress(data))):
        (tmp_path / name).write_bytes(content)
        found, reasons = read(tmp_path / name, max_bytes=1_000_000)
        assert (len(found), sorted(reasons)) == (kept, bad)
        assert all(one.caption in ("caption", "x") for one in found)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (TAR + b"garbage", r"no header at byte \d+ behind an end mark"),
        (TAR[:1024] + b"\1" + TAR[1025:], "no header at byte 1024"),
        (TAR.rstrip(b"\0") + bytes(-len(TAR.rstrip(b"\0")) % 512), "without an end mark"),
        (gzip.compress(TAR), "is gzip, not tar"),
        (bytes(10240), "holds no samples"),
    ],
)
def test_tars_that_are_refused_say_why(tmp_path, data, said):
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(StageError, match=said):
        read(tmp_path / "a.tar")


def test_paths_in_tables_as_people_have_them(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub/e.png").mkdir(parents=True)
    for name in ("a.png", "sub/b.png", unicodedata.normalize("NFD", "ü.png")):
        (folder / name).write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "in.png").symlink_to(folder / "a.png")
    (folder / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "pipe.png")
    sound = ["a.png", "a.png", str(folder / "a.png"), r"sub\b.png", "./a.png", "sub/../a.png", "in.png", "ü.png"]
    missing = ["A.PNG", "sub/e.png", "pipe.png", "loop.png", r"C:\photos\a.png", "~/a.png", "x" * 5000]
    unsafe = ["out.png", "../secret.png", (folder / "a.png").as_uri(), "https://example.org/a.png", "/etc/passwd"]
    rows = [(name, "x") for name in [*sound, *missing, *unsafe]]
    pandas.DataFrame(rows, columns=["image", "caption"]).to_json(folder / "t.jsonl", orient="records", lines=True)
    found, bad = read(folder / "t.jsonl")
    assert [one.name for one in found] == sound
    assert sorted(bad) == ["missing image file"] * len(missing) + ["unsafe path"] * len(unsafe)


@pytest.fixture
def elsewhere(tmp_path):
    """A folder beside the table's: a picture, a link to it, text behind a picture's name, and what is no picture or no file."""
    folder = tmp_path / "elsewhere"
    (folder / "folder.png").mkdir(parents=True)
    (folder / "A.PNG").write_bytes(PNG)
    (folder / "notes.txt").write_text("secret")
    (folder / "link.png").symlink_to(folder / "A.PNG")
    (folder / "notes.png").symlink_to(folder / "notes.txt")
    (folder / "passwd.png").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.png")
    return folder


def test_an_absolute_path_in_a_table_of_this_machine_may_lead_to_any_picture(tmp_path, elsewhere):
    names = ["A.PNG", "link.png", "notes.txt", "notes.png", "passwd.png", "pipe.png", "folder.png", "gone.png"]
    rows = [(str(elsewhere / name), "x") for name in names] + [("/etc/passwd", "x"), ("../elsewhere/A.PNG", "x")]
    table = pandas.DataFrame(rows, columns=["image", "caption"])
    (tmp_path / "table").mkdir()
    table.to_json(tmp_path / "table/t.jsonl", orient="records", lines=True)
    found, bad = read(tmp_path / "table/t.jsonl")
    assert [(one.image, one.name) for one in found] == [(PNG, rows[0][0]), (PNG, rows[1][0])]
    assert sorted(bad) == ["missing image file"] * 3 + ["unsafe path"] * 5
    store = fsspec.filesystem("memory")
    store.pipe("/tables/t.jsonl", table[:2].to_json(orient="records", lines=True).encode())
    for images in (None, str(tmp_path / "table")):
        assert read("memory://tables/t.jsonl", images=images) == ([], ["unsafe path"] * 2)
    store.rm("/tables", recursive=True)


def test_a_list_of_captions_makes_one_pair_each_where_the_params_say_so(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "t.jsonl").write_text('{"image": "a.png", "caption": ["one", "two", 3]}\n')
    assert read(tmp_path / "t.jsonl") == ([], ["no text"])
    found, bad = read(tmp_path / "t.jsonl", each_caption=True)
    assert ([one.caption for one in found], bad) == (["one", "two"], ["no text"])
