"""Passes of the relevance filter that run in processes of their own: to be timed as their users run them, or to be killed.

`python -m benchmarks.filter_passes ours|theirs|killed …`, called by benchmarks/filtering.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.peers.relevance import score_pairs
from benchmarks.shards import seconds
from components.engines.base.allocator import keep_freed_memory
from components.engines.base.params import load_section
from components.engines.captioned.dataset import Captioned, CaptionedImages
from components.engines.captioned.filter import write_scores
from components.engines.captioned.relevance import RELEVANCE, Relevance
from components.engines.shards.map_shards import map_shards
from components.text_to_image.filter import Filter

ROOT = Path(__file__).resolve().parents[1]
THRESHOLD = 0.0  # half of the pairs or so, by a model that learnt nothing
BATCH = load_section(Filter, "text_to_image.filter", ROOT / "params.yaml").batch_size  # for the script as well
KILLED_BATCH = 64  # a kill is to hit a shard in its middle
OUR_THREADS_WAIT = {"OMP_WAIT_POLICY": "PASSIVE"}  # as components/engines/base/stage.py has it


class LoggedRelevance(Relevance):
    """The filter's mapper, which writes down what it has scored."""

    def __init__(self, clip: Path, log: Path) -> None:
        super().__init__(clip, THRESHOLD, KILLED_BATCH)
        self.log = log

    def apply(self, items: list[tuple[Captioned, Tensor]]) -> list[dict[str, Any]]:
        answers = super().apply(items)
        with self.log.open("a") as file:
            file.write("".join(f"{found.key}\n" for found, _ in items))
        return answers


def command(way: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "benchmarks.filter_passes", way, *map(str, arguments)]


def environment(threads: int) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}


def time_pass(way: str, *arguments: object, threads: int) -> float:
    """Seconds of a whole pass, from loading the model to scores on disk, in a process that has made one before."""
    env = environment(threads) | (OUR_THREADS_WAIT if way == "ours" else {})
    done = subprocess.run(command(way, *arguments), cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def ours(src: str, clip: str, place: str, scores: str) -> None:
    """What the stage `filter` does up to its table of scores."""
    keep_freed_memory()  # as components/engines/base/stage.py does
    for name in ("first", "second"):
        work = Path(place) / name
        work.mkdir(parents=True)
        spent = seconds(partial(_filter_pairs, Path(src), Path(clip), work, Path(scores)))
    print(spent)


def _filter_pairs(src: Path, clip: Path, place: Path, scores: Path) -> None:
    map_shards(partial(Relevance, clip, THRESHOLD, BATCH), src, place / "scored", work=place / "work")
    scored = CaptionedImages(place / "scored", "train")
    write_scores(
        scores, [{"key": one.key, "split": "train", "score": one.metadata[RELEVANCE], "wrong": None} for one in scored]
    )


def theirs(table: str, clip: str, place: str, scores: str) -> None:
    import datasets

    datasets.disable_progress_bars()
    datasets.disable_caching()
    for name in ("first", "second"):
        arguments = (Path(table), Path(clip), Path(scores), Path(place) / name, BATCH)
        spent = seconds(partial(score_pairs, *arguments))
    print(spent)


def killed(folder: str, clip: str, workers: str) -> None:
    """Map FOLDER/src with the clip model CLIP and so many WORKERS, until somebody kills it."""
    # not as one of __main__: by a name that Ray's workers can import
    from benchmarks.filter_passes import LoggedRelevance as Logged

    root = Path(folder)
    make = partial(Logged, Path(clip), root / "log")
    map_shards(make, root / "src", root / "dst", work=root / "work", workers=int(workers))


if __name__ == "__main__":
    {"ours": ours, "theirs": theirs, "killed": killed}[sys.argv[1]](*sys.argv[2:])
