"""Ingest, clean, validate: counts add up, what is bad goes with a reason, nothing leaks from testing."""

import io

import numpy as np
import pandas
import pytest
from PIL import Image

from components.clip.ingest import Ingest
from components.engines.base.errors import StageError, UnusableRecords
from components.engines.base.evidence import evidence_path
from components.engines.base.paths import digest_path, read_json, read_jsonl
from components.engines.captioned.dataset import CaptionedImages
from components.engines.captioned.ingest import Fields
from components.engines.sources.splits import SPLITS
from components.engines.worlds.captioned import bomb, rotated
from components.engines.worlds.scenes import Scene, paint
from tests.clip.small import DATA, SAMPLE, small


def everything(folder):
    return {one.key: one for split in SPLITS for one in CaptionedImages(folder, split)}


def pixels(image):
    return np.asarray(image.open().convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    """Folder of a sample world with many bad files, cleaned."""
    world = SAMPLE | {"num_train": 900, "bad_files": 0.4}
    room = small(tmp_path_factory.mktemp("dirty"), ingest=world, clean={"max_bad_fraction": 0.5})
    return room.run_all(*DATA)


def test_the_sample_is_cleaned_of_its_bad_files_and_keeps_its_odd_ones(dirty):
    books = read_json(dirty.reports / "cleaning.json")
    kept, before = everything(dirty.data / "cleaned"), everything(dirty.data / "images")
    assert books["seen"] == 940 == len(before)
    assert books["seen"] == books["kept"] + sum(books["rejected"].values()) + sum(books["quarantined"].values())
    assert books["kept"] == len(kept)
    refused = [read_jsonl(dirty.data / "cleaned" / f"{kind}.jsonl") for kind in ("rejected", "quarantined")]
    assert {row["key"] for rows in refused for row in rows} == before.keys() - kept.keys()
    assert all(row["reason"] for rows in refused for row in rows)
    assert books["dirt_recall"] > 0.97
    assert books["dirt_precision"] > 0.97
    assert books["dirt_recall_by_kind"]["duplicate"] == 1
    assert set(books["odd_files_kept"].values()) == {1.0}
    assert all(max(pixels(one).shape) <= 64 for one in kept.values())


def test_a_rotated_image_is_kept_upright(dirty):
    turned = [one for one in everything(dirty.data / "cleaned").values() if one.metadata["truth"]["file"] == "rotated"]
    assert len(turned) > 5
    for one in turned:
        truth = Scene(**{**one.scene, "texture": "plain"})
        shown = paint(truth, 32, np.random.default_rng(0)).astype(int)
        saturated = [np.ptp(picture, axis=2) > 60 for picture in (pixels(one), shown)]
        centres = [np.argwhere(found).mean(0) > 16 for found in saturated]
        assert (centres[0] == centres[1]).all()


def test_testing_images_never_reach_training(tmp_path):
    picture = paint(Scene("red", "circle", "top left", "large", "plain"), 32, np.random.default_rng(1))
    rng = np.random.default_rng(0)
    rows = [{"image": png(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)), "caption": f"{n}"} for n in range(300)]
    # one picture saved in many ways: their bytes, and so their splits, differ
    rows += [{"image": png(picture, compress_level=n), "caption": f"red {n}"} for n in range(10)]
    rows += [{"image": jpeg(picture, 95 + n), "caption": f"red again {n}"} for n in range(6)]
    pandas.DataFrame(rows).to_parquet(tmp_path / "images.parquet")
    source = Ingest(source=str(tmp_path / "images.parquet"), valid_fraction=0.2, test_fraction=0.2)
    room = small(tmp_path, ingest=source).run_all(*DATA)
    reds = [(s, one) for s in SPLITS for one in CaptionedImages(room.data / "cleaned", s) if "red" in one.caption]
    assert [split for split, _ in reds] == ["test"]
    books = read_json(room.reports / "cleaning.json")
    assert books["rejected"]["held out"] > 0
    assert books["kept"] == 301


def test_with_copies_pair_an_image_keeps_its_several_captions(tmp_path):
    rng = np.random.default_rng(0)
    images = [png(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(120)]
    rows = [{"image": image, "caption": f"{words} {n}"} for n, image in enumerate(images) for words in ("a", "b", "a")]
    pandas.DataFrame(rows).to_parquet(tmp_path / "images.parquet")
    source = Ingest(source=str(tmp_path / "images.parquet"), valid_fraction=0.1, test_fraction=0.3)
    room = small(tmp_path, ingest=source, clean={"copies": "pair"}).run_all(*DATA)
    assert read_json(room.reports / "cleaning.json")["kept"] == 240
    assert read_json(room.reports / "cleaning.json")["rejected"] == {"duplicate": 120}


def png(picture, **options):
    return saved(picture, "PNG", **options)


def jpeg(picture, quality):
    return saved(picture, "JPEG", quality=quality, subsampling=0)


def saved(picture, format, **options):
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(buffer, format, **options)
    return buffer.getvalue()


def test_hostile_and_strange_input_is_handled_or_quarantined_and_the_run_goes_on(tmp_path):
    rng = np.random.default_rng(0)

    def noise(shape=(40, 40, 3)):
        return rng.integers(0, 256, shape, dtype=np.uint8)

    frames = [Image.fromarray(noise()).quantize() for _ in range(3)]
    strange = {
        "cut short": png(noise())[:800],
        "bomb": bomb(50_000),
        "zero bytes": b"",
        "web page": b"<html>",
        "cmyk": saved(Image.fromarray(noise()).convert("CMYK"), "JPEG"),
        "palette": saved(Image.fromarray(noise()).quantize(16), "PNG", transparency=3),
        "sixteen bits": saved(rng.integers(0, 65536, (40, 40), dtype=np.uint16), "PNG"),
        "animated": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "turned": rotated(noise()),
        "thin": png(noise((16, 400, 3))),
        "speck": png(noise((3, 3, 3))),
    }
    rows = [{"image": image, "caption": name} for name, image in strange.items()]
    captions = ["🎨 كلمة \u202bمن اليمين\u202c", "x" * 10_000, " \t ", "a\x07b\n c", None]
    rows += [{"image": png(noise()), "caption": caption} for caption in captions]
    rows += [{"image": png(noise()), "caption": f"plain {n}"} for n in range(150)]
    pandas.DataFrame(rows).to_parquet(tmp_path / "images.parquet")
    source = Ingest(source=str(tmp_path / "images.parquet"), valid_fraction=0.1, test_fraction=0.3)
    room = small(tmp_path, ingest=source).run_all(*DATA)
    assert [row["reason"] for row in read_jsonl(room.data / "images/quarantined.jsonl")] == ["missing field"]
    books = read_json(room.reports / "cleaning.json")
    assert books["quarantined"] == {"damaged image": 1, "empty file": 1, "not an image": 1, "too many pixels": 1}
    assert books["rejected"] == {"too narrow": 1, "too small": 1, "caption too long": 1, "no caption": 1}
    captions = {one.caption for one in everything(room.data / "cleaned").values()}
    assert captions >= {"cmyk", "palette", "sixteen bits", "animated", "turned", "a b c"}
    assert any("🎨" in caption for caption in captions)
    assert books["kept"] == len(captions) == books["seen"] - 8


def test_too_many_bad_files_stop_the_run(tmp_path):
    with pytest.raises(StageError, match="max_bad_fraction"):
        small(tmp_path, ingest=SAMPLE | {"bad_files": 0.9}, clean={"max_bad_fraction": 0.1}).run_all(*DATA)


def test_several_captions_an_image_are_not_lost_in_silence(tmp_path):
    rng = np.random.default_rng(0)
    images = [png(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(60)]
    rows = [{"image": image, "caption": f"{n} {words}"} for n, image in enumerate(images) for words in "abcde"]
    pandas.DataFrame(rows).to_parquet(tmp_path / "images.parquet")
    source = Ingest(source=str(tmp_path / "images.parquet"), valid_fraction=0.1, test_fraction=0.3)
    with pytest.raises(UnusableRecords, match=r"max_rejected_fraction 0\.5 \(duplicate: 240\); for example"):
        small(tmp_path, ingest=source).run_all(*DATA)
    records = read_jsonl(evidence_path(tmp_path, "clip", "clean"))
    assert len(records) == 240
    assert {"key", "reason", "caption"} <= records[0].keys()


def test_columns_have_their_own_names_and_a_wrong_one_is_told(tmp_path):
    rng = np.random.default_rng(0)
    rows = [{"jpg": png(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)), "txt": f"{n}"} for n in range(300)]
    pandas.DataFrame(rows).to_parquet(tmp_path / "images.parquet")
    named = Ingest(source=str(tmp_path / "images.parquet"), fields=Fields(image="jpg", caption="txt"))
    small(tmp_path, ingest=named).run_all(*DATA)
    from components.engines.base.errors import UsageError

    with pytest.raises(UsageError, match=r"no column 'image'.*jpg, txt"):
        small(tmp_path / "again").run("ingest", source=str(tmp_path / "images.parquet"))


def test_the_data_stages_give_the_same_bytes_again(tmp_path, small_data):
    room = small(tmp_path).run_all(*DATA)
    for name in ("images", "cleaned", "tokenizer"):
        assert digest_path(room.data / name) == digest_path(small_data / name)
