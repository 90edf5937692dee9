"""Test pairs and their mismatches, what the model says of all of them, and the figures that follow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.clip.measures.mismatches import any_other, meaning, one_attribute
from components.engines.base.seeds import derive
from components.engines.captioned.dataset import Captioned, Pictures, without_picture
from components.engines.scoring.buckets import by_slice, length_bucket
from components.engines.scoring.evaluation import GALLERY, shown_samples
from components.engines.scoring.ranking import auc_shares, chance_of_hit, hits_at, roc_auc
from components.engines.worlds.scenes import Scene


class Trial:
    """Test pairs, their mismatches, and what the model says of all of them.

    `shown` are the pairs with their pictures, which are read when they are needed; `pairs` the same without.
    `good`, and `bad` by kind of mismatch: scores, float64 [pairs]; `retrieval`: of every image with every caption.
    """

    def __init__(self, shown: Sequence[Captioned], embedder: Any, seed: int) -> None:
        pairs = [without_picture(one) for one in shown]
        self.shown, self.pairs, self.seed = shown, pairs, seed
        self.mismatches = {"any": any_other(pairs, seed)}
        self.changed: list[str] = []
        if all(pair.scene for pair in pairs):  # the sample world, whose truth is known
            self.mismatches["one_attribute"], self.changed = one_attribute(pairs, seed)
        meanings = [meaning(pair) for pair in pairs]
        self.relevant = np.array([[one == other for other in meanings] for one in meanings])
        self.images = embedder.embed_images(Pictures(shown)).double().numpy()
        texts = embedder.embed_texts([pair.caption for pair in pairs]).double().numpy()
        self.retrieval = self.images @ texts.T
        self.good = self.retrieval.diagonal().copy()
        self.wrong_texts = {
            kind: embedder.embed_texts(captions).double().numpy() for kind, captions in self.mismatches.items()
        }
        self.bad = {kind: (self.images * vectors).sum(1) for kind, vectors in self.wrong_texts.items()}
        self.shuffled = _shuffled_images(self, texts)

    @property
    def unseen(self) -> np.ndarray:
        """Which pairs show a combination that training never saw (none where nobody knows): bool [pairs]."""
        return np.array([pair.scene is not None and Scene(**pair.scene).is_held_out for pair in self.pairs])


def _shuffled_images(trial: Trial, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the right captions and of any others, each with the image of another pair: a control."""
    order = np.random.default_rng(derive(trial.seed, "shuffled")).permutation(len(trial.pairs))
    images = trial.images[order]
    return (images * texts).sum(1), (images * trial.wrong_texts["any"]).sum(1)


def example_scores(trial: Trial) -> list[dict[str, Any]]:
    """One row a pair, with its share of every AUC: the mean of the shares is the AUC."""
    shares = {f"auc_{kind}": auc_shares(trial.good, bad) for kind, bad in trial.bad.items()}
    first = hits_at(trial.retrieval, trial.relevant, 1)
    rows = []
    for position, pair in enumerate(trial.pairs):
        slices = {"length": length_bucket(len(pair.caption.split()))}
        if trial.changed:
            slices = {"combination": "unseen" if trial.unseen[position] else "seen", "changed": trial.changed[position]}
        scores = {name: float(share[position]) for name, share in shares.items()}
        rows.append({"id": pair.key, "slices": slices, "metrics": {**scores, "r_at_1": float(first[position])}})
    return rows


def figures_of(trial: Trial, rows: list[dict[str, Any]]) -> dict[str, Any]:
    chance = np.random.default_rng(derive(trial.seed, "random scorer")).random((2, len(trial.pairs)))
    figures: dict[str, Any] = {f"auc_{kind}": roc_auc(trial.good, bad) for kind, bad in trial.bad.items()}
    unseen = trial.unseen
    if unseen.any():
        for kind, bad in trial.bad.items():
            figures[f"auc_unseen_{kind}"] = roc_auc(trial.good[unseen], bad[unseen])
    return figures | {
        "auc_random_scorer": roc_auc(*chance),
        "auc_shuffled_images": roc_auc(*trial.shuffled),
        "r_at_1": float(hits_at(trial.retrieval, trial.relevant, 1).mean()),
        "r_at_5": float(hits_at(trial.retrieval, trial.relevant, 5).mean()),
        "r_at_1_text_to_image": float(hits_at(trial.retrieval.T, trial.relevant.T, 1).mean()),
        "r_at_1_chance": chance_of_hit(trial.relevant),
        "test_pairs": len(trial.pairs),
        "slices": by_slice([row["slices"] for row in rows], lambda members: _of_slice(trial, members)),
    }


def _of_slice(trial: Trial, members: list[int]) -> dict[str, Any]:
    return {f"auc_{kind}": roc_auc(trial.good[members], bad[members]) for kind, bad in trial.bad.items()}


def noise_found(embedder: Any, noisy: Any) -> dict[str, float]:
    """How well the score finds wrong captions among those that training could not remember (sample world only)."""
    from components.engines.captioned.dataset import Pictures, without_picture

    known = [(place, without_picture(pair)) for place, pair in enumerate(noisy) if pair.scene]
    wrong = np.array([pair.metadata["truth"]["caption"] != "right" for _, pair in known], dtype=bool)
    if not wrong.any() or wrong.all():
        return {}
    images = embedder.embed_images(Pictures(noisy, [place for place, _ in known]))
    texts = embedder.embed_texts([pair.caption for _, pair in known])
    scores = (images * texts).sum(1).double().numpy()
    return {"auc_filter": roc_auc(scores[~wrong], scores[wrong]), "filter_pairs": len(known)}


def samples(trial: Trial, count: int, gallery: Path) -> list[dict[str, Any]]:
    """Pairs by how far the right caption's score lies above the hardest mismatch's; their pictures in `gallery`."""
    kind = "one_attribute" if trial.changed else "any"
    margins = trial.good - trial.bad[kind]
    gallery.mkdir(parents=True, exist_ok=True)

    def sample(position: int) -> dict[str, Any]:
        pair = trial.pairs[position]
        (gallery / f"{pair.key}.png").write_bytes(trial.shown[position].image)
        return {
            "id": pair.key,
            "pictures": {"image": f"{GALLERY}/{pair.key}.png"},
            "fields": {
                "caption": pair.caption,
                "score": f"{trial.good[position]:.3f}",
                "mismatch": trial.mismatches[kind][position],
                "score of the mismatch": f"{trial.bad[kind][position]:.3f}",
            },
            "score": float(margins[position]),
        }

    return shown_samples(np.argsort(margins, kind="stable").tolist(), count, sample)
