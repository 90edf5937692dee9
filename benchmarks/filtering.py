"""text_to_image's relevance filter: what the map costs beside the bare model, a script of datasets and transformers, a kill.

`python -m benchmarks captioned` runs it.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.filter_passes import BATCH, ROOT, THRESHOLD, command, environment, time_pass
from benchmarks.peers.relevance import write_table
from benchmarks.scenes import CLIPS, LARGE_CLIP, ROOM_CLIP, write_clip, write_scenes
from benchmarks.shards import map_rows, pass_row, scratch
from benchmarks.turnstile import torch_threads
from components.engines.base.allocator import keep_freed_memory
from components.engines.captioned.dataset import Captioned, CaptionedImages
from components.engines.captioned.relevance import Relevance

SIZES = {
    ROOM_CLIP: 8192,
    LARGE_CLIP: 1024,
}  # pairs: as many as a default run has; for the larger model, some seconds' worth
PER_SHARD = 256  # two batches
KILLED = 3072  # pairs in twelve shards


def run(repeats: int) -> list[dict[str, Any]]:
    """Rows: `ours` and `theirs` in pairs per second, medians."""
    keep_freed_memory()  # as a stage does; the bare model gains by it too
    rows = []
    with scratch() as root:
        for name, pairs in SIZES.items():
            folder = root / name.replace(" ", "-")
            write_scenes(folder / "src", {"train": pairs}, PER_SHARD)
            write_clip(folder / "clip", folder / "src", **CLIPS[name])
            with torch_threads(max(1, (os.cpu_count() or 2) - 1)):  # one core left free: see shards.map_efficiency
                rows += beside_the_model(name, folder, pairs, repeats)
            rows += [beside_a_script(name, folder, pairs, repeats, threads) for threads in _thread_counts()]
        rows += [
            wasted_by_a_kill(root / f"killed-{workers}", workers, root / "default-CLIP" / "clip") for workers in (0, 2)
        ]
    return rows


def _thread_counts() -> list[int]:
    return sorted({1, os.cpu_count() or 1})


def beside_the_model(name: str, folder: Path, pairs: int, repeats: int) -> list[dict[str, Any]]:
    """The bar is for a model of a few million parameters: one as small as the room's takes less time than to decode for it."""
    rows = map_rows(f"filter, {name}", BareRelevance(folder / "clip", THRESHOLD, BATCH), folder, pairs, repeats)
    return rows if name == LARGE_CLIP else [row | {"bar": None} for row in rows]


class BareRelevance(Relevance):
    """The filter's mapper; `forward` is its model alone, on tensors made beforehand."""

    def collate(self, items: list[tuple[Captioned, Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
        captions = [found.caption for found, _ in items]
        return torch.cat([pixels for _, pixels in items]), self.scorers.clip.tokens(captions)

    @torch.inference_mode()
    def forward(self, batch: tuple[Tensor, dict[str, Tensor]]) -> Tensor:
        pixels, tokens = batch
        return (self.scorers.clip.image_vectors(pixels) * self.scorers.clip.text_vectors(tokens)).sum(1)


def beside_a_script(name: str, folder: Path, pairs: int, repeats: int, threads: int) -> dict[str, Any]:
    """Whole passes in turn, from loading the model to scores on disk, each as its users run it; both give the same scores.

    Ours writes the pictures with their marks as well, as the stage does; the script leaves them out. The bar is for the room's
    model: a larger one's own time is the same for both.
    """
    table = folder / "pairs.parquet"
    if not table.exists():
        write_table([(one.key, one.image, one.caption) for one in CaptionedImages(folder / "src", "train")], table)
    times = []
    for number in range(repeats):
        place = folder / f"pass-{threads}-{number}"
        place.mkdir()
        ours, theirs, clip = place / "ours.csv", place / "theirs.csv", folder / "clip"
        ours_s = time_pass("ours", folder / "src", clip, place / "ours", ours, threads=threads)
        theirs_s = time_pass("theirs", table, clip, place / "theirs", theirs, threads=threads)
        require_equal(ours, theirs, pairs)
        times.append((ours_s, theirs_s))
    return pass_row(
        f"filter, {name} / datasets.map + CLIPModel, torch threads {threads}",
        pairs,
        times,
        1.2 if name == ROOM_CLIP else None,
    )


def require_equal(ours: Path, theirs: Path, pairs: int) -> None:
    """Both did the same work."""
    found = []
    for path in (ours, theirs):
        with path.open(newline="") as file:
            found.append({row["key"]: float(row["score"]) for row in csv.DictReader(file)})
    if len(found[0]) != pairs or found[0].keys() != found[1].keys():
        raise RuntimeError(f"{[len(one) for one in found]} scores of {pairs} pairs")
    apart = max(abs(score - found[1][key]) for key, score in found[0].items())
    if apart > 1e-4:
        raise RuntimeError(f"the two ways of scoring differ by {apart:g}")


def wasted_by_a_kill(folder: Path, workers: int, clip: Path) -> dict[str, Any]:
    """`ours`: pairs that were scored twice because the map was killed about half-way; `theirs`: a shard for each worker.

    `ratio` is that of what was wasted to all pairs.
    """
    src, log = folder / "src", folder / "log"
    write_scenes(src, {"train": KILLED}, PER_SHARD)
    call, env = command("killed", folder, clip, workers), environment(threads=1)
    with subprocess.Popen(call, cwd=ROOT, env=env, start_new_session=True) as process:
        while (
            not log.exists() or len(log.read_text().split()) < KILLED // 2 + PER_SHARD // 2
        ):  # in the middle of a shard
            if process.poll() is not None:
                raise RuntimeError("the map ended before it could be killed: see its messages above")
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
    before = len(log.read_text().split())
    subprocess.run(call, cwd=ROOT, env=env, check=True)
    scored = Counter(log.read_text().split())
    if len(scored) != KILLED or not before < KILLED:
        raise RuntimeError(f"{len(scored)} of {KILLED} pairs were scored, {before} of them before the kill")
    wasted, allowed = sum(scored.values()) - KILLED, PER_SHARD * max(workers, 1)
    return {
        "name": f"filter killed half-way, workers {workers}: pairs scored twice / a shard a worker (at most 1)",
        "ours": wasted,
        "theirs": allowed,
        "ratio": round(wasted / allowed, 3),
        "killed_after": before,
        "pairs": KILLED,
        "bar": None,
        "most": 1.0,
    }
