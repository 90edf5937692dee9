"""Scores on the test split: figures beside their baselines, per-example scores for the promotion gate, samples to read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.clip.architecture import Architecture
from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.paths import digest_value, write_json, write_jsonl
from components.engines.base.seeds import derive
from components.engines.base.stage import StageContext

if TYPE_CHECKING:
    from components.engines.captioned.dataset import Captioned


GALLERY = "gallery"  # as dvc.yaml calls it: while a stage runs its outputs have other names


class Evaluate(Params):
    """How mismatches are drawn, and how many samples are shown."""

    num_samples: Positive = 30
    seed: int = 0


def evaluate(
    params: Evaluate,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    model: Path,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    samples: Path,
    gallery: Path,
) -> None:
    """Tell right captions from mismatched ones on the test split, retrieve, and find labelled noise in the validation split."""
    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.scoring.embedder import Embedder
    from components.engines.tracking.runs import stage_run

    pairs = list(CaptionedImages(cleaned, "test"))
    embedder = Embedder.load(model, architecture.max_tokens)
    trial = Trial(pairs, embedder, params.seed)
    rows = _example_scores(trial)
    figures = _figures(trial, rows) | _filter(embedder, CaptionedImages(cleaned, "valid"))
    write_json(metrics, figures)
    write_json(scores_json, _description(pairs, rows))
    write_jsonl(scores_jsonl, rows)
    write_jsonl(samples, _samples(params, trial, gallery))
    with stage_run(context, params.model_dump()) as run:
        run.log_metrics({name: value for name, value in figures.items() if isinstance(value, int | float)})


class Trial:
    """Test pairs, their mismatches, and what the model says of all of them.

    `good`, and `bad` by kind of mismatch: scores, float64 [pairs]; `retrieval`: of every image with every caption.
    """

    def __init__(self, pairs: list[Captioned], embedder: Any, seed: int) -> None:
        from components.clip.mismatches import any_other, meaning, one_attribute

        self.pairs, self.seed = pairs, seed
        self.mismatches = {"any": any_other(pairs, seed)}
        self.changed: list[str] = []
        if all(pair.scene for pair in pairs):  # the sample world, whose truth is known
            self.mismatches["one_attribute"], self.changed = one_attribute(pairs, seed)
        meanings = [meaning(pair) for pair in pairs]
        self.relevant = np.array([[one == other for other in meanings] for one in meanings])
        self.images = embedder.embed_images([pair.open() for pair in pairs]).double().numpy()
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
        from components.engines.worlds.scenes import Scene

        return np.array([pair.scene is not None and Scene(**pair.scene).is_held_out for pair in self.pairs])


def _shuffled_images(trial: Trial, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the right captions and of any others, each with the image of another pair: a control."""
    order = np.random.default_rng(derive(trial.seed, "shuffled")).permutation(len(trial.pairs))
    images = trial.images[order]
    return (images * texts).sum(1), (images * trial.wrong_texts["any"]).sum(1)


def _example_scores(trial: Trial) -> list[dict[str, Any]]:
    """One row a pair, with its share of every AUC: the mean of the shares is the AUC."""
    from components.engines.scoring.buckets import length_bucket
    from components.engines.scoring.ranking import auc_shares, hits_at

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


def _figures(trial: Trial, rows: list[dict[str, Any]]) -> dict[str, Any]:
    from components.engines.scoring.buckets import by_slice
    from components.engines.scoring.ranking import chance_of_hit, hits_at, roc_auc

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
    from components.engines.scoring.ranking import roc_auc

    return {f"auc_{kind}": roc_auc(trial.good[members], bad[members]) for kind, bad in trial.bad.items()}


def _filter(embedder: Any, noisy: Any) -> dict[str, float]:
    """How well the score finds wrong captions among those that training could not remember (sample world only)."""
    from components.engines.scoring.ranking import roc_auc

    pairs = [pair for pair in noisy if pair.scene]
    wrong = np.array([pair.told["truth"]["caption"] != "right" for pair in pairs], dtype=bool)
    if not wrong.any() or wrong.all():
        return {}
    images, texts = embedder.embed_images([p.open() for p in pairs]), embedder.embed_texts([p.caption for p in pairs])
    scores = (images * texts).sum(1).double().numpy()
    return {"auc_filter": roc_auc(scores[~wrong], scores[wrong]), "filter_pairs": len(pairs)}


def _description(pairs: list[Captioned], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How the rows add up to figures, and a digest of the examples, so that only scores of the same test are compared."""
    metrics = {name: {"aggregate": "mean", "higher_is_better": True} for name in rows[0]["metrics"]}
    examples = [[pair.key, pair.told["print"]["pixels"], pair.caption] for pair in pairs]
    return {"examples": digest_value(examples), "metrics": metrics}


def _samples(params: Evaluate, trial: Trial, gallery: Path) -> list[dict[str, Any]]:
    """Pairs by how far the right caption's score lies above the hardest mismatch's: the worst, the best, some arbitrary; their
    pictures in `gallery`."""
    kind = "one_attribute" if trial.changed else "any"
    margins = trial.good - trial.bad[kind]
    order = np.argsort(margins, kind="stable").tolist()
    each = max(params.num_samples // 3, 1)
    step = max(len(order) // each, 1)
    kinds = [("bad", order[:each]), ("good", order[::-1][:each]), ("random", list(range(0, len(order), step))[:each])]
    gallery.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, chosen in kinds:
        for position in chosen:
            pair = trial.pairs[position]
            (gallery / f"{pair.key}.png").write_bytes(pair.image)
            rows.append(
                {
                    "id": pair.key,
                    "kind": name,
                    "pictures": {"image": f"{GALLERY}/{pair.key}.png"},
                    "fields": {
                        "caption": pair.caption,
                        "score": f"{trial.good[position]:.3f}",
                        "mismatch": trial.mismatches[kind][position],
                        "score of the mismatch": f"{trial.bad[kind][position]:.3f}",
                    },
                    "score": float(margins[position]),
                }
            )
    return rows


if __name__ == "__main__":
    stage.main(evaluate)
