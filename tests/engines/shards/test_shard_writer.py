"""Shards are plain tars that others read, the same bytes each time, and refuse what could not be read back."""

import hashlib
import tarfile
from pathlib import Path

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_shards import toy_samples, write_toy

from components.engines.base.errors import StageError, UsageError
from components.engines.base.paths import digest_path
from components.engines.shards.manifest import write_manifest
from components.engines.shards.reader import ShardReader
from components.engines.shards.tar import member_header
from components.engines.shards.writer import ShardWriter


def plain(path):
    """Samples as plain webdataset gives them, its own notes left out."""
    dataset = webdataset.WebDataset([str(path)], shardshuffle=False, empty_check=False)
    return [{k: v for k, v in sample.items() if k not in ("__url__", "__local_path__")} for sample in dataset]


def test_plain_webdataset_reads_the_same_samples(tmp_path):
    manifest = write_toy(tmp_path, count=23, per_shard=10)
    assert [shard.samples for shard in manifest.shards] == [10, 10, 3]
    read = [sample for shard in manifest.shards for sample in plain(tmp_path / shard.name)]
    assert read == list(toy_samples(23))


def test_members_carry_neither_times_nor_owners(tmp_path):
    write_toy(tmp_path, count=3)
    with tarfile.open(tmp_path / "train-000000.tar") as tar:
        members = tar.getmembers()
    assert [member.name for member in members[:2]] == ["s/0000.img.bin", "s/0000.txt"]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode, m.isreg()) for m in members} == {
        (0, 0, 0, "", "", 0o644, True)
    }


def test_equal_samples_give_equal_bytes_in_any_field_order(tmp_path):
    write_toy(tmp_path / "a")
    with ShardWriter(tmp_path / "b", "train", 10) as writer:
        writer.write_all({key: sample[key] for key in reversed(sample)} for sample in toy_samples(100))
    write_manifest(tmp_path / "b", writer.shards)
    assert digest_path(tmp_path / "a") == digest_path(tmp_path / "b")


def test_the_entry_states_size_and_digest_of_the_file(tmp_path):
    shard = write_toy(tmp_path, count=5).shards[0]
    data = (tmp_path / shard.name).read_bytes()
    assert (shard.bytes, shard.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert shard.fields == ("img.bin", "txt")
    assert len(data) % tarfile.RECORDSIZE == 0


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=120),
    st.integers(0, 8**11 - 1),
)
def test_headers_are_those_of_tarfile(name, size):
    expected = tarfile.TarInfo(name)
    expected.mode, expected.size = 0o644, size
    try:
        wanted = expected.tobuf(tarfile.USTAR_FORMAT, encoding="utf-8", errors="strict")
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            member_header(name.encode(), size)
    else:
        assert member_header(name.encode(), size) == wanted


extensions = st.from_regex(r"[a-z0-9][a-z0-9_.\-]{0,8}", fullmatch=True)
parts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/\\."), min_size=1, max_size=12
)
keys = st.lists(parts, min_size=1, max_size=3).map("/".join).filter(lambda key: not key.startswith("__"))
fields = st.dictionaries(extensions, st.binary(max_size=1500), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(keys, fields, min_size=1, max_size=6), st.integers(1, 3))
def test_whatever_is_written_is_read_back_by_us_and_by_webdataset(tmp_path_factory, content, per_shard):
    folder = tmp_path_factory.mktemp("any")
    samples = [{"__key__": key, **fields} for key, fields in content.items()]
    with ShardWriter(folder, "train", per_shard) as writer:
        writer.write_all(samples)
    manifest = write_manifest(folder, writer.shards)
    assert list(ShardReader(folder, "train")) == samples
    assert [sample for shard in manifest.shards for sample in plain(folder / shard.name)] == samples


@pytest.mark.parametrize(
    "key",
    ["", None, 3, "a.b", "/a", "a/", "a//b", "../a", "a/../b", "./a", "..", "a\\b", "a\nb", "a\n", "__m__", "\ud800"],
)
def test_unusable_keys_are_refused(tmp_path, key):
    with pytest.raises(StageError, match="key is unusable"), ShardWriter(tmp_path, "train") as writer:
        writer.write({"__key__": key, "txt": b"x"})
    assert list(tmp_path.iterdir()) == []


def test_a_name_too_long_for_a_tar_is_refused_and_one_that_fits_is_not(tmp_path):
    long = "d" * 100 + "/" + "k" * 90
    with ShardWriter(tmp_path, "train") as writer:
        writer.write({"__key__": long, "txt": b"x"})
    write_manifest(tmp_path, writer.shards)
    assert ShardReader(tmp_path, "train")[0] == {"__key__": long, "txt": b"x"}
    with pytest.raises(StageError, match="does not fit a tar"), ShardWriter(tmp_path, "val") as writer:
        writer.write({"__key__": "k" * 101, "txt": b"x"})


@pytest.mark.parametrize("extension", ["JPG", "", ".a", "_a", "a/b", "a b"])
def test_field_names_that_webdataset_would_change_are_refused(tmp_path, extension):
    with pytest.raises(StageError, match="field name is unusable"), ShardWriter(tmp_path, "train") as writer:
        writer.write({"__key__": "a", extension: b"x"})


def test_repeated_keys_empty_samples_and_text_are_refused(tmp_path):
    with pytest.raises(StageError, match="comes twice"), ShardWriter(tmp_path, "train") as writer:
        writer.write_all([{"__key__": "a", "txt": b"x"}, {"__key__": "a", "jpg": b"x"}])
    with pytest.raises(StageError, match="holds no fields"), ShardWriter(tmp_path, "train") as writer:
        writer.write({"__key__": "a", "__url__": "somewhere"})
    with pytest.raises(StageError, match=r"Field 'txt' of sample 'a' is str"), ShardWriter(tmp_path, "train") as writer:
        writer.write({"__key__": "a", "txt": "x"})


def test_metadata_fields_are_not_stored(tmp_path):
    with ShardWriter(tmp_path, "train") as writer:
        writer.write({"__key__": "a", "__url__": "somewhere", "txt": b"x"})
    assert plain(tmp_path / "train-000000.tar") == [{"__key__": "a", "txt": b"x"}]


def test_a_failure_in_the_block_leaves_no_half_shard(tmp_path):
    def interrupted():
        yield from toy_samples(15)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ShardWriter(tmp_path, "train", 10) as writer:
        writer.write_all(interrupted())
    assert [path.name for path in tmp_path.iterdir()] == ["train-000000.tar"]


def test_a_full_disk_is_said_in_words(tmp_path, monkeypatch):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    monkeypatch.setattr("components.engines.shards.writer.temporary_sibling", lambda path: full)
    monkeypatch.setattr("components.engines.shards.writer.remove", lambda path: None)
    message = r"The disk is full\. Where: .*train-000000\.tar"
    with pytest.raises(StageError, match=message), ShardWriter(tmp_path, "train") as writer:
        writer.write({"__key__": "a", "txt": b"x"})


@pytest.mark.parametrize(("split", "count"), [("../up", 1), ("Train", 1), ("", 1), ("train", 0)])
def test_bad_arguments_are_refused(tmp_path, split, count):
    with pytest.raises(UsageError):
        ShardWriter(tmp_path, split, count)
