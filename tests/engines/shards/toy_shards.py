"""Toy shards and a toy mapper; `python toy_shards.py SRC DST WORK WORKERS SHOUT_JSON RESOURCES_JSON` is one map, alone."""

import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from components.engines.base.errors import BadRecord, GenworksError
from components.engines.shards.manifest import write_manifest
from components.engines.shards.map_shards import Rejected, map_shards
from components.engines.shards.writer import ShardWriter


def text_of(index):
    return "bad" if index % 17 == 3 else "no" if index % 5 == 2 else f"sample {index} é"


def toy_samples(count):
    for index in range(count):
        yield {
            "__key__": f"s/{index:04d}",
            "txt": text_of(index).encode(),
            "img.bin": bytes([index % 256, 255]) * index,
        }


def write_toy(folder, count=100, per_shard=10, split="train"):
    with ShardWriter(folder, split, per_shard) as writer:
        writer.write_all(toy_samples(count))
    return write_manifest(folder, writer.shards)


@dataclass
class Shout:
    """Upper-cases; refuses "no", cannot use "bad", and goes wrong as told. Writes `<pid> <key>` per decoded sample to `log`."""

    log: str = ""
    batch_size: int = 4
    seconds: float = 0.0  # per sample
    fail_decode: str = ""  # keys at which something happens
    fail_apply: str = ""
    leave_at: str = ""
    die_at: str = ""
    die_unless: str = ""  # a file that must be missing for `die_at`, made on dying: so it dies once

    def decode(self, sample):
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{os.getpid()} {sample['__key__']}\n")
        time.sleep(self.seconds)
        if sample["__key__"] == self.fail_decode:
            raise ValueError("decode trips")
        text = sample["txt"].decode()
        if text == "bad":
            raise BadRecord("toy_bad", "it says so")
        return sample, text

    def apply(self, items):
        keys = [sample["__key__"] for sample, _ in items]
        if self.fail_apply in keys:
            raise RuntimeError("apply trips")
        if self.leave_at in keys:
            sys.exit(7)
        if self.die_at in keys:
            if not self.die_unless:
                os.kill(os.getpid(), signal.SIGKILL)
            if not Path(self.die_unless).exists():
                Path(self.die_unless).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return [self._answer(sample, text, len(items)) for sample, text in items]

    def _answer(self, sample, text, batch):
        if text == "no":
            return Rejected("unwanted", sample)
        return {
            "__key__": sample["__key__"],
            "txt": text.upper().encode(),
            "json": json.dumps({"batch": batch}).encode(),
        }


def command(src, dst, work, workers, mapper, resources=None):
    paths = [str(src), str(dst), str(work)]
    return [sys.executable, __file__, *paths, str(workers), json.dumps(asdict(mapper)), json.dumps(resources)]


if __name__ == "__main__":
    src, dst, work = map(Path, sys.argv[1:4])
    mapper = partial(Shout, **json.loads(sys.argv[5]))
    try:
        map_shards(mapper, src, dst, work=work, workers=int(sys.argv[4]), resources=json.loads(sys.argv[6]))
    except GenworksError as error:
        sys.exit(f"{type(error).__name__}: {error}")
