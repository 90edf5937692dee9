"""Small encoders and the samples they encode."""

import numpy as np

from components.engines.shards.manifest import write_manifest
from components.engines.shards.writer import ShardWriter

SPLITS = {"train": 23, "valid": 9}


class Toy:
    """A vector per sample: `scale` times its number, and its number as it is."""

    calls = 0

    def __init__(self, scale=0.5, fails_at=None):
        self.scale, self.fails_at = scale, fails_at

    def decode(self, sample):
        return int(sample["number"])

    def encode(self, items):
        if self.fails_at in items:
            raise RuntimeError("the machine goes down")
        Toy.calls += len(items)
        return [
            {"vector": np.arange(3, dtype=np.float32) + self.scale * n, "count": np.array([n], np.uint8)} for n in items
        ]


def write_numbers(folder, start=0, splits=SPLITS, per_shard=5):
    shards = []
    for split, count in splits.items():
        with ShardWriter(folder, split, per_shard) as writer:
            for number in range(start, start + count):
                writer.write({"__key__": f"{split}{number:04d}", "number": str(number).encode()})
        shards += writer.shards
    write_manifest(folder, shards)
