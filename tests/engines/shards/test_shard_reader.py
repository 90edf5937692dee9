"""Any sample at once, from threads and processes; damaged or hostile shards give one clear error."""

import io
import json
import multiprocessing
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from toy_shards import toy_samples, write_toy

from components.engines.base.errors import StageError
from components.engines.base.funnel import Funnel
from components.engines.base.paths import digest_file
from components.engines.shards import reader as reader_module
from components.engines.shards.manifest import ShardEntry, read_manifest, write_manifest
from components.engines.shards.reader import ShardReader
from components.engines.shards.writer import ShardWriter


def test_samples_come_by_index_in_manifest_order(tmp_path):
    write_toy(tmp_path, count=25, per_shard=10)
    reader, samples = ShardReader(tmp_path, "train"), list(toy_samples(25))
    assert len(reader) == 25
    assert [reader[i] for i in (24, 0, 9, 10, 19, 20)] == [samples[i] for i in (24, 0, 9, 10, 19, 20)]
    assert reader[-1] == samples[-1]
    assert reader[np.int64(3)] == samples[3]
    assert list(reader) == samples
    for outside in (25, -26):
        with pytest.raises(IndexError):
            reader[outside]


def test_splits_are_apart(tmp_path):
    with ShardWriter(tmp_path, "train") as train, ShardWriter(tmp_path, "val") as val:
        train.write({"__key__": "a", "txt": b"1"})
        val.write({"__key__": "a", "txt": b"2"})
    manifest = write_manifest(tmp_path, train.shards + val.shards, Funnel(seen=2, kept=2))
    assert manifest.splits == {"train": 1, "val": 1}
    assert list(ShardReader(tmp_path, "val")) == [{"__key__": "a", "txt": b"2"}]
    with pytest.raises(StageError, match=r"no split 'test' here \(there is train, val\)"):
        ShardReader(tmp_path, "test")
    assert read_manifest(tmp_path) == manifest


def test_threads_share_a_reader_even_when_maps_are_evicted(tmp_path, monkeypatch):
    monkeypatch.setattr(reader_module, "_OPEN_SHARDS", 2)
    write_toy(tmp_path, count=60, per_shard=5)
    reader, samples = ShardReader(tmp_path, "train"), list(toy_samples(60))
    indices = np.random.default_rng(0).integers(0, 60, 3000).tolist()
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(reader.__getitem__, indices)) == [samples[i] for i in indices]


def test_a_pickled_reader_reopens_in_another_process(tmp_path):
    write_toy(tmp_path, count=12, per_shard=5)
    reader = ShardReader(tmp_path, "train")
    reader[0]  # with a shard open already
    assert list(pickle.loads(pickle.dumps(reader))) == list(toy_samples(12))  # noqa: S301 (made in this line)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(reader.__getitem__, [11, 0]) == [reader[11], reader[0]]


def test_verify_finds_changed_bytes_of_the_same_size(tmp_path):
    write_toy(tmp_path, count=20, per_shard=10)
    ShardReader(tmp_path, "train").verify()
    path = tmp_path / "train-000001.tar"
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)
    with pytest.raises(StageError, match=r"sha256 differs.*train-000001\.tar"):
        ShardReader(tmp_path, "train").verify()


def test_a_truncated_missing_or_grown_shard_is_named(tmp_path):
    write_toy(tmp_path, count=20, per_shard=10)
    path = tmp_path / "train-000001.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[:-700])
    with pytest.raises(StageError, match=r"truncated.*train-000001\.tar.*run the stage"):
        ShardReader(tmp_path, "train")
    path.write_bytes(whole + b"x")
    with pytest.raises(StageError, match="longer than written"):
        ShardReader(tmp_path, "train")
    path.unlink()
    with pytest.raises(StageError, match=r"missing.*train-000001\.tar"):
        ShardReader(tmp_path, "train")


def test_a_shard_truncated_after_opening_the_reader_is_named_too(tmp_path):
    write_toy(tmp_path, count=20, per_shard=10)
    reader = ShardReader(tmp_path, "train")
    path = tmp_path / "train-000001.tar"
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(StageError, match=r"1500 bytes instead of .*train-000001\.tar"):
        reader[15]
    path.write_bytes(b"")
    with pytest.raises(StageError, match="missing or empty"):
        reader[15]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"x"',
        "{}",
        '{"version": 2, "shards": [], "funnel": null}',
        '{"version": 1, "shards": [{}], "funnel": null}',
        '{"version": 1, "shards": 5, "funnel": null}',
        '{"version": 1, "shards": [], "funnel": {"seen": 1}}',
        "\x00\xff",
    ],
)
def test_a_broken_manifest_gives_one_clear_error(tmp_path, text):
    (tmp_path / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(StageError, match=r"manifest.*not readable.*manifest\.json.*What to do"):
        read_manifest(tmp_path)


def test_shards_without_a_manifest_are_no_dataset(tmp_path):
    with ShardWriter(tmp_path, "train") as writer:
        writer.write({"__key__": "a", "txt": b"1"})
    for place in (tmp_path, tmp_path / "nowhere", tmp_path / "train-000000.tar"):
        with pytest.raises(StageError, match="manifest is missing"):
            read_manifest(place)


def test_a_manifest_cannot_point_out_of_its_folder(tmp_path):
    write_toy(tmp_path / "a", count=3)
    document = json.loads((tmp_path / "a" / "manifest.json").read_text())
    document["shards"][0]["name"] = "../a/train-000000.tar"
    (tmp_path / "a" / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(StageError, match="no name of a shard"):
        read_manifest(tmp_path / "a")


def test_a_manifest_is_not_written_over_what_is_not_there(tmp_path):
    manifest = write_toy(tmp_path, count=3)
    with pytest.raises(StageError, match="missing"):
        write_manifest(tmp_path, [replace(manifest.shards[0], name="train-000009.tar")])
    with pytest.raises(StageError, match="same name"):
        write_manifest(tmp_path, manifest.shards * 2)


def hostile(folder, *members, samples=1):
    """A tar with these (name, type) members, and a manifest that vouches for it."""
    path = folder / "train-000000.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, kind in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, "/etc/passwd", 3 if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(b"abc"))
    entry = ShardEntry(path.name, "train", samples, path.stat().st_size, digest_file(path), ("txt",))
    write_manifest(folder, [entry])
    return ShardReader(folder, "train")


@pytest.mark.parametrize("name", ["/abs.txt", "../up.txt", "a/../../up.txt", "a\\..\\up.txt"])
def test_unsafe_member_names_are_refused(tmp_path, name):
    with pytest.raises(StageError, match="unsafe member name"):
        hostile(tmp_path, (name, tarfile.REGTYPE))[0]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    with pytest.raises(StageError, match="regular files only"):
        hostile(tmp_path, ("a.txt", tarfile.REGTYPE), ("b.txt", kind))[0]


def test_a_wrong_number_of_samples_is_refused(tmp_path):
    with pytest.raises(StageError, match="1 samples instead of 2"):
        hostile(tmp_path, ("a.txt", tarfile.REGTYPE), samples=2)[1]


def test_noise_in_place_of_a_tar_is_refused(tmp_path):
    manifest = write_toy(tmp_path, count=3)
    (tmp_path / "train-000000.tar").write_bytes(b"\xff" * manifest.shards[0].bytes)
    with pytest.raises(StageError, match=r"damaged.*train-000000\.tar"):
        ShardReader(tmp_path, "train")[0]
