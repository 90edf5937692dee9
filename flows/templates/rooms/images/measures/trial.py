"""How likely the model finds the test captions with their own images and with others, and what it says itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from components.engines.base.seeds import derive
from components.engines.captioned.captioning import Captioning
from components.engines.captioned.dataset import Captioned, CaptionedImages
from components.engines.generation.captioner import ImageCaptioner
from components.engines.generation.decoding import Decoding
from components.engines.scoring.buckets import by_slice, length_bucket
from components.engines.scoring.evaluation import GALLERY, shown_samples
from components.engines.scoring.metrics import compute
from components.engines.scoring.modules.perplexity import perplexity


class Trial:
    """The test pairs and how unlikely the model finds their captions, token by token: with their own images (`nlls`), and with
    other ones (`shuffled`)."""

    def __init__(self, cleaned: Path, captioner: ImageCaptioner, max_tokens: int, seed: int) -> None:
        self.pairs: Sequence[Captioned] = CaptionedImages(cleaned, "test")[:]
        self.captioner = captioner
        task = Captioning(captioner, self.pairs, self.pairs, max_tokens=max_tokens)
        order = np.random.default_rng(derive(seed, "shuffled images")).permutation(len(self.pairs))
        others = [replace(one, image=self.pairs[other].image) for one, other in zip(self.pairs, order, strict=True)]
        self.nlls, self.shuffled = task.nlls(self.pairs), task.nlls(others)

    def example_scores(self) -> list[dict[str, Any]]:
        """One row a pair: slices and metrics."""
        rows = []
        for one, own, other in zip(self.pairs, self.nlls, self.shuffled, strict=True):
            metrics = {"log_likelihood": -float(np.mean(own)), "own_image": float(sum(own) < sum(other))}
            slices = {"length": length_bucket(len(one.caption.split()))}
            rows.append({"id": one.key, "slices": slices, "metrics": metrics})
        return rows

    def figures(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The model's figures, each with its baseline beside it."""
        metrics = {name: [row["metrics"][name] for row in rows] for name in rows[0]["metrics"]}
        return {
            **{name: float(np.mean(values)) for name, values in metrics.items()},
            "own_image_chance": 0.5,
            "perplexity": compute(perplexity, self.nlls)["perplexity"],
            "perplexity_shuffled_images": compute(perplexity, self.shuffled)["perplexity"],
            "test_images": len(rows),
            "slices": by_slice(
                [row["slices"] for row in rows],
                lambda members: {"own_image": float(np.mean([metrics["own_image"][index] for index in members]))},
            ),
        }

    def samples(
        self, rows: list[dict[str, Any]], count: int, decoding: Decoding, gallery: Path
    ) -> list[dict[str, Any]]:
        """The least likely, the likeliest and some arbitrary captions with what the model says; their pictures in `gallery`."""
        gallery.mkdir(parents=True, exist_ok=True)

        scores = [row["metrics"]["log_likelihood"] for row in rows]

        def sample(index: int) -> dict[str, Any]:
            one = self.pairs[index]
            (gallery / f"{one.key}.png").write_bytes(one.image)
            (said,) = self.captioner.caption([one.open()], decoding, scored=False)
            return {
                "id": one.key,
                "pictures": {"image": f"{GALLERY}/{one.key}.png"},
                "fields": {"caption": said.text, "reference": one.caption},
                "score": scores[index],
            }

        return shown_samples(sorted(range(len(rows)), key=scores.__getitem__), count, sample)
