"""Encodings on disk: read the same by any number of processes, and refused when they are not what they should be."""

import zlib
from functools import partial

import numpy as np
import pytest
from toy_encoders import SPLITS, Toy, write_numbers

from components.engines.base.errors import BadRecord, StageError
from components.engines.base.paths import digest_path, read_json, write_json
from components.engines.latents.cache import KEY, EncodedSamples, check_encoded, write_encoded
from components.engines.shards.manifest import read_manifest, write_manifest
from components.engines.shards.order import SampleOrder
from components.engines.shards.reader import ShardReader
from components.engines.shards.writer import ShardWriter

ENCODERS = {"network": "abc", "preprocessing": {"px": 8}}


@pytest.fixture
def cache(tmp_path):
    write_numbers(tmp_path / "numbers")
    write(tmp_path)
    return tmp_path


def write(root, make=Toy, out="encoded", **options):
    options = {"key": ENCODERS, "work": root / f"work-{out}", "batch_size": 4, **options}
    return write_encoded(make, root / "numbers", root / out, **options)


def check(root, make=Toy, key=ENCODERS, **options):
    check_encoded(root / "encoded", make, root / "numbers", key=key, **options)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_any_number_of_processes_reads_the_same_samples(cache, world):
    order = SampleOrder(SPLITS["train"], 6, seed=1)
    alone = [EncodedSamples(cache / "encoded", "train")[i] for i in order.step(0).tolist()]
    shared = {}
    for rank in range(world):
        samples = EncodedSamples(cache / "encoded", "train")  # each process opens it by itself
        shared |= {int(i): samples[int(i)] for i in order.for_rank(0, rank, world)}
    assert len(shared) == 6
    for index, sample in zip(order.step(0).tolist(), alone, strict=True):
        assert all(np.array_equal(sample[name], shared[index][name]) for name in ("vector", "count"))


def test_encodings_come_back_by_index_in_the_order_of_the_samples(cache):
    samples = EncodedSamples(cache / "encoded", "valid")
    assert len(samples) == SPLITS["valid"]
    assert [int(one["count"][0]) for one in samples] == list(range(9))
    assert samples[4]["vector"].dtype == np.float32
    assert samples[4]["vector"].tolist() == [2.0, 3.0, 4.0]
    assert samples.stored(4)["vector"].dtype == np.float16
    assert samples.stored(4)["count"].dtype == np.uint8
    assert [int(one["count"][0]) for one in samples[2:4]] == [2, 3]


def test_fp32_keeps_what_fp16_rounds(cache):
    make = partial(Toy, scale=1 / 3)
    write(cache, make, "half")
    write(cache, make, "full", dtype="fp32")
    half, full = (EncodedSamples(cache / out, "train")[1]["vector"][0] for out in ("half", "full"))
    assert full == np.float32(1 / 3)
    assert half == np.float32(np.float16(1 / 3)) != full


def test_values_beyond_fp16_are_refused(cache):
    with pytest.raises(StageError, match=r"fp16 cannot hold it.*train-000000.tar, sample train0001\b.*use fp32"):
        write(cache, partial(Toy, scale=70_000.0), "wide")


def test_a_fresh_cache_passes_its_check(cache):
    check(cache)
    check(cache, samples=100)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"key": ENCODERS | {"network": "xyz"}}, "other network than"),
        ({"key": ENCODERS | {"preprocessing": {"px": 9}}}, "other preprocessing than"),
        ({"key": {"network": "xyz", "preprocessing": {}}}, "other network and other preprocessing than"),
        ({"make": partial(Toy, scale=0.6)}, "stored vector are not what the encoder gives now"),
    ],
)
def test_another_encoder_or_preprocessing_is_found(cache, change, said):
    with pytest.raises(StageError, match=said):
        check(cache, **change)


def test_changed_samples_are_found(cache):
    write_numbers(cache / "numbers", start=1)
    with pytest.raises(StageError, match="other samples than"):
        check(cache)


def test_damaged_bytes_are_found_on_reading(cache):
    path = cache / "encoded" / "train-000002.tar"
    data = bytearray(path.read_bytes())
    place = data.index(EncodedSamples(cache / "encoded", "train").stored(11)["vector"].tobytes())
    data[place] ^= 1
    path.write_bytes(data)
    samples = EncodedSamples(cache / "encoded", "train")
    assert samples[10]["count"] == [10]
    with pytest.raises(StageError, match=r"is damaged.*sample train0011"):
        samples[11]


def test_damaged_values_are_found_even_where_their_checksum_was_renewed(cache):
    folder = cache / "encoded"
    samples = list(ShardReader(folder, "valid"))
    for sample in samples:
        data = sample["safetensors"].replace(np.float16(1.0).tobytes(), np.float16(1.5).tobytes())
        sample |= {"safetensors": data, "crc32": zlib.crc32(data).to_bytes(4, "big")}
    with ShardWriter(folder, "valid", 5) as writer:
        writer.write_all(samples)
    write_manifest(folder, [*read_manifest(folder).of_split("train"), *writer.shards])
    with pytest.raises(StageError, match=r"stored vector are not what the encoder gives now .off by 0\.5"):
        check(cache, samples=9)


def test_a_folder_without_a_key_is_no_cache(cache):
    (cache / "encoded" / KEY).unlink()
    with pytest.raises(StageError, match="no encodings"):
        check(cache)
    write_json(cache / "encoded" / KEY, {"dtype": "int4"})
    with pytest.raises(StageError, match="no encodings"):
        check(cache)


def test_the_key_stands_in_the_folder(cache):
    key = read_json(cache / "encoded" / KEY)
    assert key["network"] == "abc"
    assert key["dtype"] == "fp16"
    assert key.keys() == {"network", "preprocessing", "samples", "dtype"}


def test_work_that_was_cut_off_goes_on_and_gives_the_same_bytes(cache):
    with pytest.raises(StageError, match="the machine goes down"):
        write(cache, partial(Toy, fails_at=17), "again")
    Toy.calls = 0
    write(cache, out="again")
    assert Toy.calls == sum(SPLITS.values()) - 15  # three shards of five had been finished
    assert digest_path(cache / "again") == digest_path(cache / "encoded")


def test_samples_that_cannot_be_used_do_not_shift_the_others(cache):
    class Picky(Toy):
        def decode(self, sample):
            if int(sample["number"]) % 7 == 3:
                raise BadRecord("a three")
            return super().decode(sample)

    manifest = write(cache, Picky, max_bad_fraction=0.5, work=cache / "picky")
    assert manifest.splits == {"train": 20, "valid": 8}
    check(cache, Picky, samples=50)
