"""Nearest vectors by FAISS, exactly and by the ways of being faster: trees, hashing, clusters, graphs.

Kinds: `flat` compares with every vector. `tree` splits space in two again and again, each time between two of its points, and
searches several such trees (random projection trees, as in Annoy). `lsh` compares signs of random projections, `ivf` looks into
the nearest clusters only (between clusters, then within), `hnsw` walks a graph from coarse to fine (Malkov and Yashunin 2016,
arXiv:1603.09320). Vectors have length 1 and are compared by their inner product.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from components.engines.base.errors import StageError
from components.engines.base.params import Params, Positive

Kind = Literal["flat", "tree", "lsh", "ivf", "hnsw"]
_PER_CLUSTER = 39  # vectors a cluster needs to be trained on without FAISS's warning


class VectorParams(Params):
    """Which index, and how thorough its search is."""

    kind: Kind = "hnsw"
    hnsw_links: Positive = 16
    hnsw_search: Positive = 64
    ivf_probes: Positive = 8
    lsh_bits: Positive = 1024
    trees: Positive = 16
    leaf: Positive = 32
    seed: int = 0


def checked(vectors: np.ndarray) -> np.ndarray:
    """float32 [n, d] of length 1. Raises StageError for a vector of zeros, or one that is no number: nothing is near it."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=1)
    bad = np.flatnonzero(~np.isfinite(lengths) | (lengths < 1e-8))
    if len(bad):
        raise StageError(
            f"{len(bad)} of {len(vectors)} vectors have no direction (zero or NaN), the first is number {bad[0]}",
            do="look at the texts they are of, and at the encoder",
        )
    return vectors / lengths[:, None]


class Vectors:
    """An index over vectors [n, d], whose numbers are their places."""

    def __init__(self, vectors: np.ndarray, params: VectorParams) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self.params, self.size = params, len(vectors)
        vectors = checked(vectors)
        self.tree = _Forest(vectors, params) if params.kind == "tree" else None
        self.index: Any = None if self.tree else _faiss_index(vectors, params)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(scores, places) [queries, k], the nearest first; place -1 where there are no more."""
        import faiss

        queries, params = checked(queries), self.params
        if self.tree is not None:
            return self.tree.search(queries, k)
        if params.kind == "lsh":
            distances, places = self.index.search(queries, k)
            return 1 - distances.astype(np.float32) / params.lsh_bits, places
        search = None
        if params.kind == "ivf":
            search = faiss.SearchParametersIVF(nprobe=params.ivf_probes)  # type: ignore[call-arg]
        elif params.kind == "hnsw":
            search = faiss.SearchParametersHNSW(efSearch=max(params.hnsw_search, k))  # type: ignore[attr-defined]
        return self.index.search(queries, k, params=search)


def _faiss_index(vectors: np.ndarray, params: VectorParams) -> Any:
    import faiss

    size, width = vectors.shape
    if params.kind == "flat":
        index: Any = faiss.IndexFlatIP(width)
    elif params.kind == "lsh":
        index = faiss.IndexLSH(width, params.lsh_bits, True)
    elif params.kind == "hnsw":
        index = faiss.IndexHNSWFlat(width, params.hnsw_links, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 100
    else:
        clusters = max(1, min(int(4 * size**0.5), size // _PER_CLUSTER))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, clusters, faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = params.seed + 1
    if not index.is_trained:
        index.train(vectors)
    index.add(vectors)
    return index


class _Forest:
    """Random projection trees: each node divides its points by the plane midway between two of them."""

    def __init__(self, vectors: np.ndarray, params: VectorParams) -> None:
        self.vectors, self.leaf = vectors, params.leaf
        rng = np.random.default_rng(params.seed)
        self.roots = [self._grown(np.arange(len(vectors)), rng) for _ in range(params.trees)]

    def _grown(self, members: np.ndarray, rng: np.random.Generator, depth: int = 0) -> Any:
        if len(members) <= self.leaf or depth > 60:
            return members
        one, other = self.vectors[rng.choice(members, 2, replace=False)]
        normal = one - other
        sides = self.vectors[members] @ normal
        middle = float(np.median(sides))
        above = sides > middle
        if above.all() or not above.any():  # equal points: no plane divides them
            return members
        return normal, middle, self._grown(members[above], rng, depth + 1), self._grown(members[~above], rng, depth + 1)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores, places = np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)
        for row, query in enumerate(queries):
            near = np.unique(np.concatenate([self._leaf(root, query) for root in self.roots]))
            found = self.vectors[near] @ query
            best = np.argsort(-found, kind="stable")[:k]
            scores[row, : len(best)], places[row, : len(best)] = found[best], near[best]
        return scores, places

    def _leaf(self, node: Any, query: np.ndarray) -> np.ndarray:
        while isinstance(node, tuple):
            normal, middle, above, below = node
            node = above if float(normal @ query) > middle else below
        return np.asarray(node)


def save_vectors(path: Path, vectors: np.ndarray) -> None:
    np.save(path, vectors.astype(np.float32), allow_pickle=False)


def load_vectors(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False)
