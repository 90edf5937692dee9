"""What frozen encoders make of samples, computed once and read by index: a cache that knows what it was made from.

    write_encoded(make_encoder, src, dst, key={"autoencoder": digest, "preprocessing": {…}}, work=context.work)
    check_encoded(dst, make_encoder, src, key={…})
    train, valid = EncodedSamples(dst, "train"), EncodedSamples(dst, "valid")

Every sample carries a checksum, which is looked at whenever it is read. The folder carries the key: digests of the encoders, the
preprocessing, and what the cache adds by itself: a digest of the samples, and the number format. `check_encoded` compares the
key with what the caller has now, and encodes a few samples again.
"""

from __future__ import annotations

import operator
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from components.engines.base.errors import StageError
from components.engines.base.paths import digest_value, read_json, write_json
from components.engines.base.seeds import derive
from components.engines.shards.manifest import Manifest, read_manifest
from components.engines.shards.map_shards import Resources, map_shards
from components.engines.shards.reader import ShardReader
from components.engines.shards.tar import Sample

KEY = "encoding.json"
Encoded = dict[str, np.ndarray]
Format = Literal["fp16", "fp32"]

_DTYPES: dict[str, type] = {"fp16": np.float16, "fp32": np.float32}
# An encoder's own rounding (other batches, other machines) stays well below these, relative to max(1, |value|).
_TOLERANCES = {"fp16": 5e-3, "fp32": 1e-3}
_AGAIN = "run the stage that encodes them again (delete its folder first)"


class Encoder(Protocol):
    """Frozen networks behind one call. Must depend on the samples alone: no draws, no dropout."""

    def decode(self, sample: Sample) -> Any:
        """The item `encode` takes. Called in a thread of its own; raises BadRecord for a sample that cannot be used."""
        ...

    def encode(self, items: list[Any]) -> list[Encoded]:
        """Named arrays of each item. Floating ones are stored in the cache's number format, others as they are."""
        ...


def write_encoded(
    make_encoder: Callable[[], Encoder],
    src: Path,
    dst: Path,
    *,
    key: dict[str, Any],
    work: Path,
    dtype: Format = "fp16",
    batch_size: int = 64,
    workers: int = 0,
    resources: Resources | None = None,
    max_bad_fraction: float = 0.0,
) -> Manifest:
    """Encode every shard of `src` into `dst` (see map_shards for `work`, `workers`, `resources` and what is raised).

    `key` is what the encodings depend on besides the samples, as JSON by name of the part. Raises StageError for values that
    fp16 cannot hold.
    """
    mapper = partial(_Encoding, make_encoder, dtype, batch_size)
    manifest = map_shards(
        mapper, src, dst, work=work, workers=workers, resources=resources, max_bad_fraction=max_bad_fraction
    )
    write_json(dst / KEY, _whole_key(key, src) | {"dtype": dtype})
    return manifest


class EncodedSamples(Sequence[Encoded]):
    """The encodings of one split, by index, in the order of the samples; any process may read any of them.

    Floating arrays come as float32, whatever they are stored in. Raises StageError for a sample whose bytes have changed.
    """

    def __init__(self, folder: Path, split: str) -> None:
        self.reader = ShardReader(folder, split)

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return {name: _widened(array) for name, array in self.stored(index).items()}

    def stored(self, index: int) -> Encoded:
        """A sample in the format it is stored in."""
        return _unpack(self.reader[operator.index(index)], str(self.reader.src))


def check_encoded(
    folder: Path,
    make_encoder: Callable[[], Encoder],
    src: Path,
    *,
    key: dict[str, Any],
    samples: int = 4,
    seed: int = 0,
) -> None:
    """Refuse encodings that these encoders would not make of these samples now.

    Compares the key, then encodes `samples` random samples of each split again. Raises StageError saying what differs.
    """
    stored = _read_key(folder)
    expected = _whole_key(key, src)
    parts = sorted(
        name for name in expected.keys() | stored.keys() - {"dtype"} if expected.get(name) != stored.get(name)
    )
    if parts:
        raise StageError(
            f"The encodings were made with other {' and other '.join(parts)} than there are now",
            where=str(folder),
            do=_AGAIN,
        )
    encoder = make_encoder()
    for split in read_manifest(folder).splits:
        _compare(EncodedSamples(folder, split), ShardReader(src, split), encoder, stored["dtype"], samples, seed)


def sample_digest(src: Path) -> str:
    """Of the bytes of all samples, by the manifest: nothing is read but that."""
    return digest_value([[shard.name, shard.sha256] for shard in read_manifest(src).shards])


def _whole_key(key: dict[str, Any], src: Path) -> dict[str, Any]:
    reserved = {"samples", "dtype"} & key.keys()
    if reserved:
        raise ValueError(f"the cache adds {reserved} to its key by itself")
    return {**key, "samples": sample_digest(src)}


def _read_key(folder: Path) -> dict[str, Any]:
    try:
        key = read_json(folder / KEY)
        if key["dtype"] not in _DTYPES:
            raise ValueError(key["dtype"])
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise StageError(
            f"These are no encodings: {KEY} is missing or damaged ({type(error).__name__})",
            where=str(folder),
            do=_AGAIN,
        ) from None
    return key


def _compare(
    cached: EncodedSamples, source: ShardReader, encoder: Encoder, dtype: str, samples: int, seed: int
) -> None:
    rng = np.random.default_rng(derive(seed, "check encoded", cached.reader.split))
    chosen = sorted(rng.choice(len(cached), min(samples, len(cached)), replace=False).tolist())
    fresh = encoder.encode([encoder.decode(_source_of(cached, source, index)) for index in chosen])
    for index, now in zip(chosen, fresh, strict=True):
        where = f"{cached.reader.src}, split {cached.reader.split}, sample {cached.reader[index]['__key__']}"
        then = cached.stored(index)
        if {name: array.shape for name, array in then.items()} != {name: array.shape for name, array in now.items()}:
            raise StageError("The encoder gives other arrays now than are stored", where=where, do=_AGAIN)
        for name, array in now.items():
            distance = _distance(then[name], _narrowed(array, dtype))
            if not distance <= _TOLERANCES[dtype]:
                raise StageError(
                    f"The stored {name} are not what the encoder gives now (off by {distance:.2g}): they are damaged, or "
                    "the code that encodes has changed",
                    where=where,
                    do=_AGAIN,
                )


def _source_of(cached: EncodedSamples, source: ShardReader, index: int) -> Sample:
    """The sample behind encoding `index`: at that place, or after it where samples before it could not be used."""
    key = cached.reader[index]["__key__"]
    for place in range(index, len(source)):
        sample = source[place]
        if sample["__key__"] == key:
            return sample
    raise StageError(f"Sample {key} was encoded but is not there", where=str(source.src), do=_AGAIN)


def _distance(then: np.ndarray, now: np.ndarray) -> float:
    """The largest difference relative to max(1, |value|); NaN if either holds one."""
    then, now = then.astype(np.float64), now.astype(np.float64)
    return float((abs(then - now) / np.maximum(abs(now), 1)).max(initial=0.0))


class _Encoding:
    """The mapper around an encoder."""

    def __init__(self, make_encoder: Callable[[], Encoder], dtype: Format, batch_size: int) -> None:
        self.encoder, self.dtype, self.batch_size = make_encoder(), dtype, batch_size

    def decode(self, sample: Sample) -> tuple[str, Any]:
        return sample["__key__"], self.encoder.decode(sample)

    def apply(self, items: list[tuple[str, Any]]) -> list[Sample]:
        made = self.encoder.encode([item for _, item in items])
        return [_pack(key, arrays, self.dtype) for (key, _), arrays in zip(items, made, strict=True)]


def _pack(key: str, arrays: Encoded, dtype: Format) -> Sample:
    from safetensors.numpy import save

    data = save({name: np.ascontiguousarray(_narrowed(array, dtype)) for name, array in arrays.items()})
    return {"__key__": key, "safetensors": data, "crc32": zlib.crc32(data).to_bytes(4, "big")}


def _unpack(sample: Sample, where: str) -> Encoded:
    from safetensors.numpy import load

    data = sample.get("safetensors", b"")
    if zlib.crc32(data).to_bytes(4, "big") != sample.get("crc32"):
        raise StageError(
            "An encoding is damaged: its bytes are not those that were written",
            where=f"{where}, sample {sample['__key__']}",
            do=_AGAIN,
        )
    return load(data)


def _narrowed(array: np.ndarray, dtype: str) -> np.ndarray:
    if not np.issubdtype(array.dtype, np.floating):
        return array
    with np.errstate(over="ignore"):  # looked at below
        narrow: np.ndarray = array.astype(_DTYPES[dtype])
    if not np.isfinite(narrow).all():
        told = (
            "the encoder gives values that are not finite"
            if not np.isfinite(array).all()
            else f"{dtype} cannot hold it"
        )
        raise StageError(f"A sample cannot be stored: {told}", do="use fp32, or look at the encoder")
    return narrow


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if np.issubdtype(array.dtype, np.floating) else array
