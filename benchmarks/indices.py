"""Recall@10 against queries a second of every index over synthetic vectors; on request, a figure with it.

Vectors are what embeddings are like: a few hundred directions around which they gather, in 64 dimensions, one thread.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from components.engines.index.vectors import VectorParams, Vectors

SIZES = (1_000, 10_000, 100_000)
WIDTH, QUERIES, K = 64, 200, 10
SETTINGS: dict[str, list[dict[str, int]]] = {
    "flat": [{}],
    "tree": [{"trees": 8}, {"trees": 32}],
    "lsh": [{"lsh_bits": 256}, {"lsh_bits": 1024}],
    "ivf": [{"ivf_probes": 4}, {"ivf_probes": 16}],
    "hnsw": [{"hnsw_search": 16}, {"hnsw_search": 64}],
}
FIGURE = Path(__file__).parents[1] / "docs" / "pictures" / "rag_indices.png"


def run(repeats: int) -> list[dict[str, Any]]:
    rows = [row for size in SIZES for row in _of_size(size, max(repeats, 1))]
    _draw(rows)
    return rows


def _of_size(size: int, repeats: int) -> list[dict[str, Any]]:
    vectors, queries = drawn(size)
    exact = Vectors(vectors, VectorParams(kind="flat")).search(queries, K)[1]
    rows = []
    for kind, variants in SETTINGS.items():
        for settings in variants:
            start = time.perf_counter()
            index = Vectors(vectors, VectorParams(kind=kind, **settings))  # type: ignore[arg-type]
            built = time.perf_counter() - start
            speeds = []
            for _ in range(repeats):
                start = time.perf_counter()
                found = index.search(queries, K)[1]
                speeds.append(QUERIES / (time.perf_counter() - start))
            recall = np.mean([len(set(one) & set(other)) / K for one, other in zip(exact, found, strict=True)])
            told = ", ".join(f"{name} {value}" for name, value in settings.items())
            rows.append(
                {
                    "name": f"{size:,} vectors, {kind} {told}".strip(),
                    "ours": float(np.median(speeds)),
                    "recall": float(recall),
                    "build_s": built,
                    "size": size,
                    "kind": kind,
                    "range": [float(recall), float(recall)],
                }
            )
    return rows


def drawn(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(vectors [size, 64], queries [200, 64])."""
    rng = np.random.default_rng(seed)
    middles = rng.standard_normal((300, WIDTH))
    spread = 0.5 * rng.standard_normal((size + QUERIES, WIDTH))
    made = (middles[rng.integers(0, len(middles), size + QUERIES)] + spread).astype(np.float32)
    return made[:size], made[size:]


def _draw(rows: list[dict[str, Any]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(SIZES), figsize=(12, 3.6), sharey=True)
    for axis, size in zip(axes, SIZES, strict=True):
        for kind in SETTINGS:
            some = [row for row in rows if row["size"] == size and row["kind"] == kind]
            axis.plot([row["ours"] for row in some], [row["recall"] for row in some], "o-", label=kind)
        axis.set(title=f"{size:,} vectors", xlabel="queries/s, one thread", xscale="log", ylim=(0, 1.03))
    axes[0].set_ylabel("recall@10")
    axes[-1].legend()
    figure.tight_layout()
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=80)
    pyplot.close(figure)
