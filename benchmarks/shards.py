"""Shards side by side with their peers: writing, shuffled reading, and the efficiency of the map.

`python benchmarks/shards.py [--repeats N]` prints medians of interleaved runs. Everything is read from the page cache, in
one process without worker processes, since the question is what the code costs, not the disk.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.turnstile import torch_threads
from components.engines.shards.manifest import write_manifest
from components.engines.shards.map_shards import map_shards
from components.engines.shards.order import SampleOrder
from components.engines.shards.reader import ShardReader
from components.engines.shards.writer import ShardWriter

PEER = Path(__file__).resolve().parent / "peers" / "streaming"
SIZES = {500: 20_000, 20_000: 4_000}  # bytes per sample: samples
PER_SHARD = 1000
BATCH = 64


def run(repeats: int = 5) -> list[dict[str, Any]]:
    """Every comparison: name, `ours` and `theirs` (samples per second, medians), `ratio` and the `bar` it should reach."""
    rows = []
    for size, count in SIZES.items():
        rows += writing(size, count, repeats)
        rows += reading(size, count, repeats)
    return [*rows, *map_efficiency(repeats)]


def writing(size: int, count: int, repeats: int) -> list[dict[str, Any]]:
    import webdataset

    samples = random_samples(size, count)

    def ours(folder: Path) -> None:
        with ShardWriter(folder, "train", PER_SHARD) as writer:
            writer.write_all(samples)
        write_manifest(folder, writer.shards)

    def theirs(folder: Path) -> None:
        with webdataset.ShardWriter(str(folder / "train-%06d.tar"), maxcount=PER_SHARD, verbose=0) as writer:
            for sample in samples:
                writer.write(sample)

    def timed(write: Callable[[Path], None]) -> float:
        with scratch() as folder:
            return seconds(lambda: write(folder))

    ours_s, theirs_s = interleaved(repeats, lambda: timed(ours), lambda: timed(theirs))
    return [row(f"write {size} B samples / webdataset.ShardWriter", count / ours_s, count / theirs_s, 0.95)]


def reading(size: int, count: int, repeats: int) -> list[dict[str, Any]]:
    import webdataset

    with scratch() as folder:
        with ShardWriter(folder, "train", PER_SHARD) as writer:
            writer.write_all(random_samples(size, count))
        manifest = write_manifest(folder, writer.shards)
        urls = [str(folder / shard.name) for shard in manifest.shards]

        def ours() -> None:  # opening the reader and scanning the headers included
            reader, order = ShardReader(folder, "train"), SampleOrder(count, BATCH, seed=1)
            check(count, sum(len(reader[i]["txt"]) == size for step in range(count // BATCH) for i in order.step(step)))

        def theirs() -> None:
            dataset = webdataset.WebDataset(urls, shardshuffle=len(urls), seed=1).shuffle(1000)
            check(count, sum(len(sample["txt"]) == size for sample in dataset))

        with mosaic(size, count) as mosaic_seconds:
            rivals = [lambda: seconds(ours), lambda: seconds(theirs), *([mosaic_seconds] if mosaic_seconds else [])]
            ours_s, theirs_s, *mosaic_s = interleaved(repeats, *rivals)
    speed = count // BATCH * BATCH / ours_s
    rows = [row(f"shuffled read {size} B samples / webdataset with shuffle(1000)", speed, count / theirs_s, 1.0)]
    rows += [row(f"shuffled read {size} B samples / mosaicml-streaming", speed, count / s, 1.0) for s in mosaic_s]
    return rows


@contextmanager
def mosaic(size: int, count: int) -> Iterator[Callable[[], float] | None]:
    """Seconds of one pass of mosaicml-streaming over as many samples; None where its environment is not installed."""
    python = PEER / ".venv" / "bin" / "python"
    if not python.exists():
        print(f"mosaicml-streaming is left out: see {PEER / 'README.md'}", file=sys.stderr)
        yield None
        return
    with scratch() as folder:
        command = [str(python), str(PEER / "read.py"), str(folder), str(count), str(size)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, **pipes) as process:
            to, back = process.stdin, process.stdout
            assert to is not None
            assert back is not None
            if back.readline().strip() != "ready":
                raise RuntimeError("mosaicml-streaming does not start: see its messages above")

            def one_pass() -> float:
                to.write("\n")
                to.flush()
                took, read = back.readline().split()
                check(count, int(read))
                return float(took)

            yield one_pass
            to.close()


def map_efficiency(repeats: int, count: int = 384, batch: int = 32) -> list[dict[str, Any]]:
    """The map, with JPEG decoding and writing of embeddings, over a bare forward of the same batches.

    Torch leaves one core free, as an accelerator leaves all of them: work on the cores that multiply cannot overlap.
    """
    with scratch() as folder, torch_threads(max(1, (os.cpu_count() or 2) - 1)):
        with ShardWriter(folder / "src", "train", 128) as writer:
            writer.write_all(pictures(count))
        write_manifest(folder / "src", writer.shards)
        return map_rows("map of a small ViT", Embedder(batch), folder, count, repeats)


def map_rows(name: str, mapper: BareMapper, folder: Path, count: int, repeats: int) -> list[dict[str, Any]]:
    """Rows of the map over `folder/src` and of the mapper's model alone: on the clock, and in CPU seconds.

    A pass of the map is timed from the call of `map_shards` to its return, shards finished and manifest included. CPU seconds
    count every thread of the process: what the map costs where no core is free, whatever else is running.
    """
    items = [mapper.decode(sample) for sample in ShardReader(folder / "src", "train")]
    size = mapper.batch_size
    batches = [mapper.collate(items[start : start + size]) for start in range(0, len(items), size)]

    def ours() -> None:
        with scratch() as work:
            map_shards(lambda: mapper, folder / "src", work / "dst", work=work / "work")

    def theirs() -> None:
        for batch in batches:
            mapper.forward(batch)

    ours(), theirs()  # allocators and thread pools warm up
    # in this thread, the process's first, as a stage maps: elsewhere torch gets its memory from another arena, and more slowly
    spent = [(clocked(ours), clocked(theirs)) for _ in range(repeats)]
    return [
        pass_row(f"{name} / bare forward{kind}", count, [(ours[clock], theirs[clock]) for ours, theirs in spent], bar)
        for clock, (kind, bar) in enumerate([("", 0.95), (", CPU seconds", None)])
    ]


class BareMapper(Protocol):
    """A mapper whose model can be run without the map."""

    batch_size: int

    def decode(self, sample: dict[str, Any]) -> Any: ...

    def apply(self, items: list[Any]) -> list[dict[str, Any]]: ...

    def collate(self, items: list[Any]) -> Any:
        """What `forward` takes."""
        ...

    def forward(self, batch: Any) -> Any: ...


def clocked(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds on the clock and of all the process's threads."""
    start = time.process_time()
    wall = seconds(work)
    return wall, time.process_time() - start


def pass_row(name: str, count: int, spent: list[tuple[float, float]], bar: float | None) -> dict[str, Any]:
    """Of pairs of passes, ours and theirs, that stand next to each other in time: medians, and the ratios of single pairs."""
    ours, theirs = (count / median(column) for column in zip(*spent, strict=True))
    ratios = [theirs_s / ours_s for ours_s, theirs_s in spent]
    return {
        **row(name, ours, theirs, bar),
        "ratio": round(median(ratios), 3),
        "range": [round(min(ratios), 3), round(max(ratios), 3)],
    }


class Embedder:
    """Decodes 64-pixel JPEGs and embeds them with a small ViT (8 layers, width 256, 64 patches; 6 M parameters)."""

    def __init__(self, batch_size: int) -> None:
        import torch
        from torch import nn

        torch.manual_seed(0)
        self.batch_size = batch_size
        self.patches = nn.Conv2d(3, 256, 8, 8)
        layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 8, enable_nested_tensor=False).eval()

    def decode(self, sample: dict[str, Any]) -> tuple[str, Any]:
        import torch
        from PIL import Image

        pixels = np.asarray(Image.open(io.BytesIO(sample["jpg"])))  # (64, 64, 3)
        return sample["__key__"], torch.from_numpy(pixels.copy()).permute(2, 0, 1).float().div_(255)

    def forward(self, x_bchw: Any) -> Any:
        import torch

        with torch.inference_mode():
            return self.layers(self.patches(x_bchw).flatten(2).transpose(1, 2)).mean(1)  # (batch, 256)

    def collate(self, items: list[tuple[str, Any]]) -> Any:
        import torch

        return torch.stack([pixels for _, pixels in items])

    def apply(self, items: list[tuple[str, Any]]) -> list[dict[str, Any]]:
        embedded = self.forward(self.collate(items)).numpy()
        return [{"__key__": key, "f32": row.tobytes()} for (key, _), row in zip(items, embedded, strict=True)]


def pictures(count: int) -> Iterator[dict[str, Any]]:
    from PIL import Image

    draw = np.random.default_rng(0)
    for index in range(count):
        small = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        file = io.BytesIO()
        small.resize((64, 64), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        yield {"__key__": f"{index:06d}", "jpg": file.getvalue()}


def random_samples(size: int, count: int) -> list[dict[str, Any]]:
    return [{"__key__": f"{index:08d}", "txt": os.urandom(size)} for index in range(count)]


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="shards-bench-") as folder:
        yield Path(folder)


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleaved(repeats: int, *contenders: Callable[[], float]) -> list[float]:
    """The median seconds of each, their runs taking turns so that a busy moment of the machine hits all alike."""
    times = [[contender() for contender in contenders] for _ in range(repeats)]
    return [median(column) for column in zip(*times, strict=True)]


def check(expected: int, read: int) -> None:
    if not expected - BATCH < read <= expected:
        raise RuntimeError(f"{read} samples read instead of {expected}")


def row(name: str, ours: float, theirs: float, bar: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "ours": round(ours, 1),
        "theirs": round(theirs, 1),
        "ratio": round(ours / theirs, 3),
        "bar": bar,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = run(arguments.repeats)
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    for figures in rows:
        bar = figures["bar"]
        met = "no bar" if bar is None else f"bar {bar:g}, {'met' if figures['ratio'] >= bar else 'MISSED'}"
        print("{name}: {ours:g} against {theirs:g} samples/s, ratio {ratio:g} ({met})".format(met=met, **figures))


if __name__ == "__main__":
    main()
