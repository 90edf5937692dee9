"""What was read once is not read again while size, time and inode are the same."""

import hashlib
import os

import pytest

from components.engines.base import digests as module
from components.engines.base.digests import Digests
from components.engines.base.paths import digest_path, write_json


@pytest.fixture
def read(monkeypatch):
    """Names of the files whose bytes were read."""
    names = []
    real = module.digest_file
    monkeypatch.setattr(module, "digest_file", lambda path: names.append(path.name) or real(path))
    return names


def write(path, data, age=10):
    path.write_bytes(data)
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))


def test_digests_are_those_of_digest_path_and_files_are_read_once(tmp_path, read):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.tar", "b.tar"):
        write(folder / name, name.encode())
    assert Digests(tmp_path).of(folder) == digest_path(folder)
    assert read == ["a.tar", "b.tar"]
    assert Digests(tmp_path).of(folder) == digest_path(folder)
    assert Digests(tmp_path).of(folder / "a.tar") == digest_path(folder / "a.tar")
    assert read == ["a.tar", "b.tar", "a.tar"]


@pytest.mark.parametrize("how", ["other size", "same size later", "replaced"])
def test_a_changed_file_is_read_again(tmp_path, read, how):
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.tar", b"1")
    before = Digests(tmp_path).of(folder)
    stat = (folder / "a.tar").stat()
    if how == "replaced":  # same size, same time, another file
        write(tmp_path / "new", b"2")
        os.replace(tmp_path / "new", folder / "a.tar")
        os.utime(folder / "a.tar", ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    else:
        write(folder / "a.tar", b"22" if how == "other size" else b"2", age=5)
    assert Digests(tmp_path).of(folder) == digest_path(folder) != before


def test_a_file_as_young_as_the_clocks_grain_is_not_trusted(tmp_path, read):
    (tmp_path / "a").write_bytes(b"1")
    os.utime(tmp_path / "a", (2**32, 2**32))
    Digests(tmp_path).of(tmp_path / "a")
    Digests(tmp_path).of(tmp_path / "a")
    assert read == ["a", "a"]


def test_planning_writes_nothing_and_a_damaged_memory_only_costs_a_reading(tmp_path, read):
    write(tmp_path / "a", b"1")
    Digests(tmp_path, keep=False).of(tmp_path / "a")
    assert not (tmp_path / ".work").exists()
    Digests(tmp_path).of(tmp_path / "a")
    (memory,) = (tmp_path / ".work/digests").iterdir()
    memory.write_text("[1, 2")
    assert Digests(tmp_path).of(tmp_path / "a") == digest_path(tmp_path / "a")


def test_shards_are_known_by_their_manifest_as_soon_as_they_are_published(tmp_path, read):
    folder = tmp_path / "out"
    folder.mkdir()
    write(folder / "train-000000.tar", b"shard")
    listed = [{"name": "train-000000.tar", "sha256": hashlib.sha256(b"shard").hexdigest()}]
    write_json(folder / "manifest.json", {"shards": listed})
    Digests(tmp_path).enter(folder)
    assert Digests(tmp_path).of(folder) == digest_path(folder)
    assert read == ["manifest.json"]
