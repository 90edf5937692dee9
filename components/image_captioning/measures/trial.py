"""Captions of the test images, by the model and by what stands beside it: how each of them scores."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.engines.base.seeds import derive
from components.engines.captioned.dataset import Captioned, CaptionedImages, Pictures, without_picture
from components.engines.generation.decoding import Decoding
from components.engines.scoring.evaluation import GALLERY, shown_samples
from components.engines.text.inclusive import include
from components.engines.worlds.scenes import ATTRIBUTES, PHRASINGS, Scene, describe, says_just, words_told

if TYPE_CHECKING:
    from components.engines.generation.captioner import ImageCaptioner
    from components.engines.scoring.embedder import Embedder


@dataclass(frozen=True)
class Example:
    """One test image with all its captions, lower-cased: of a painted scene every phrasing, else what the data set has."""

    shown: Captioned  # without its picture
    place: int  # in the test split, where that is
    references: list[str]
    scene: Scene | None

    @property
    def key(self) -> str:
        return self.shown.key

    @property
    def pixels(self) -> str:
        return self.shown.metadata["print"]["pixels"]


def examples_of(cleaned: Path) -> list[Example]:
    """The images of the test split; one that comes with several captions is one example."""
    found: dict[str, Example] = {}
    for place, one in enumerate(CaptionedImages(cleaned, "test")):
        scene = Scene(**one.scene) if one.scene else None
        phrasings = [describe(scene, number) for number in range(len(PHRASINGS))] if scene else []
        example = found.setdefault(
            one.metadata["print"]["pixels"], Example(without_picture(one), place, phrasings, scene)
        )
        if one.caption.lower() not in example.references:
            example.references.append(one.caption.lower())
    return list(found.values())


class Trial:
    """`examples`, and `outputs`: by who says it, a caption for each.

    `chosen` and `greedy` are the model's, `shuffled_images` is `chosen` of other images, `most_common` the commonest training
    caption (what a captioner says that sees nothing), `reference` one of the image's own captions.
    """

    def __init__(
        self,
        cleaned: Path,
        captioner: ImageCaptioner,
        embedder: Embedder,
        *,
        decoding: Decoding,
        batch_size: int,
        seed: int,
    ) -> None:
        self.examples = examples_of(cleaned)
        self.test = CaptionedImages(cleaned, "test")
        self.pictures = Pictures(self.test, [one.place for one in self.examples])  # read when they are looked at
        self.references = [one.references for one in self.examples]
        self.outputs = self._say(captioner, decoding, batch_size)
        rng = np.random.default_rng(derive(seed, "trial"))
        train = Counter(one.caption.lower() for one in CaptionedImages(cleaned, "train"))
        commonest = min(train, key=lambda caption: (-train[caption], caption))
        self.picked = [int(rng.integers(len(choices))) for choices in self.references]
        self.outputs["shuffled_images"] = [
            self.outputs["chosen"][index] for index in rng.permutation(len(self.examples))
        ]
        self.outputs["most_common"] = [commonest] * len(self.examples)
        self.outputs["reference"] = [choices[pick] for choices, pick in zip(self.references, self.picked, strict=True)]
        self.clip_scores = self._clip_scores(embedder)

    def _say(self, captioner: ImageCaptioner, chosen: Decoding, batch_size: int) -> dict[str, list[str]]:
        greedy = Decoding(strategy="greedy", max_new_tokens=chosen.max_new_tokens)
        captions = {
            way: captioner.caption(self.pictures, decoding, batch_size=batch_size, scored=False)
            for way, decoding in (("chosen", chosen), ("greedy", greedy))
        }
        return {way: [one.text.lower() for one in generated] for way, generated in captions.items()}

    @property
    def painted(self) -> bool:
        """Whether the truth about every image is known."""
        return all(one.scene is not None for one in self.examples)

    def example_scores(self) -> list[dict[str, Any]]:
        """One row an image: slices and metrics. BLEU is kept as sufficient statistics, since it is no mean over captions."""
        from components.engines.scoring.buckets import length_bucket
        from components.engines.scoring.metrics import sentence_scores
        from components.engines.scoring.modules.cider_d import cider_d
        from components.engines.scoring.modules.rouge import rouge
        from components.engines.scoring.sentences import bleu_statistics

        chosen = self.outputs["chosen"]
        columns: dict[str, list[Any]] = {
            "cider": sentence_scores(cider_d, chosen, self.references),
            "bleu": bleu_statistics(chosen, self.references),
            "rouge_l": sentence_scores(rouge, chosen, self.references),
            "clip_score": self.clip_scores["chosen"],
        }
        if self.painted:
            columns |= self._truths(chosen)
        return [
            {
                "id": one.key,
                "slices": {"combination": "unseen" if one.scene.is_held_out else "seen", "shape": one.scene.shape}
                if one.scene
                else {"length": length_bucket(len(one.references[0].split()))},
                "metrics": {name: values[index] for name, values in columns.items()},
            }
            for index, one in enumerate(self.examples)
        ]

    def _truths(self, captions: list[str]) -> dict[str, list[float]]:
        """Of each caption 1 or 0: whether it says just what is in the image, and each attribute rightly."""
        scenes = [one.scene for one in self.examples if one.scene]
        told = [words_told(caption) for caption in captions]
        right = {
            name: [float(words[name] == [getattr(scene, name)]) for words, scene in zip(told, scenes, strict=True)]
            for name in ATTRIBUTES
        }
        exact = [float(says_just(caption, scene)) for caption, scene in zip(captions, scenes, strict=True)]
        return {"exact": exact, **right}

    def _clip_scores(self, embedder: Embedder) -> dict[str, list[float]]:
        """CLIPScore by who says it."""
        from components.engines.scoring.metrics import sentence_scores
        from components.engines.scoring.modules.clip_score import clip_score

        images = embedder.embed_images(self.pictures).numpy()
        return {
            way: sentence_scores(clip_score, images, embedder.embed_texts(captions).numpy())
            for way, captions in self.outputs.items()
            if way != "greedy"
        }

    def figures(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Corpus figures of the chosen decoding, and the same of everybody else under `<metric>_<who>`."""
        from components.engines.scoring.buckets import by_slice

        figures: dict[str, Any] = dict(self._consensus("chosen"))
        for way in ("shuffled_images", "most_common", "reference"):
            figures |= {f"{name}_{way}": value for name, value in self._consensus(way).items()}
        figures |= self._other_ciders()
        for way, scores in self.clip_scores.items():
            figures["clip_score" if way == "chosen" else f"clip_score_{way}"] = float(np.mean(scores))
        if self.painted:
            figures |= self._exact()
        changed = [include(caption).text != caption for caption in self.outputs["chosen"]]
        figures |= {
            "rewritten_for_inclusion": float(np.mean(changed)),
            "test_images": len(rows),
            "references_per_image": float(np.mean([len(one) for one in self.references])),
            "slices": by_slice([row["slices"] for row in rows], lambda members: _means(rows, members)),
        }
        return figures

    def samples(self, rows: list[dict[str, Any]], count: int, gallery: Path) -> list[dict[str, Any]]:
        """The worst, the best and some arbitrary captions, with their pictures in `gallery`."""
        scores = [row["metrics"] for row in rows]
        gallery.mkdir(parents=True, exist_ok=True)

        def sample(index: int) -> dict[str, Any]:
            example = self.examples[index]
            (gallery / f"{example.key}.png").write_bytes(self.test[example.place].image)
            return {
                "id": example.key,
                "pictures": {"image": f"{GALLERY}/{example.key}.png"},
                "fields": {
                    "caption": self.outputs["chosen"][index],
                    "greedy": self.outputs["greedy"][index],
                    "reference": example.references[0],
                },
                "score": scores[index]["cider"],
            }

        order = sorted(range(len(rows)), key=lambda i: (scores[i].get("exact", 0), scores[i]["cider"], rows[i]["id"]))
        return shown_samples(order, count, sample)

    def _consensus(self, way: str) -> dict[str, float]:
        """The figures that ask how well captions agree with what people wrote."""
        from components.engines.scoring.metrics import compute
        from components.engines.scoring.modules.bleu import bleu
        from components.engines.scoring.modules.cider_d import cider_d
        from components.engines.scoring.modules.meteor import meteor
        from components.engines.scoring.modules.rouge import rouge

        captions, references = self.outputs[way], self.references
        return {
            "cider": compute(cider_d, captions, references)["score"],
            "bleu": compute(bleu, captions, references)["score"],
            "meteor": compute(meteor, captions, references)["score"],
            "rouge_l": compute(rouge, captions, references)["rougeL"],
        }

    def _other_ciders(self) -> dict[str, float]:
        """CIDEr-D of greedy decoding, and of one of an image's captions against its others: what somebody reaches who says the
        same otherwise."""
        from components.engines.scoring.metrics import compute
        from components.engines.scoring.modules.cider_d import cider_d

        figures = {"cider_greedy": compute(cider_d, self.outputs["greedy"], self.references)["score"]}
        if min(map(len, self.references)) < 2:
            return figures
        others = [
            [*choices[:pick], *choices[pick + 1 :]] for choices, pick in zip(self.references, self.picked, strict=True)
        ]
        score = compute(cider_d, self.outputs["reference"], others, corpus=self.references)["score"]
        return figures | {"cider_another_phrasing": score}

    def _exact(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        unseen = np.array([one.scene is not None and one.scene.is_held_out for one in self.examples])
        for way in ("chosen", "greedy", "shuffled_images", "most_common"):
            truths = self._truths(self.outputs[way])
            suffix = "" if way == "chosen" else f"_{way}"
            figures[f"exact{suffix}"] = float(np.mean(truths["exact"]))
            if way == "chosen":
                figures |= {f"{name}_accuracy": float(np.mean(truths[name])) for name in ATTRIBUTES}
                figures |= {
                    f"exact_{kind}": float(np.mean(np.array(truths["exact"])[members]))
                    for kind, members in (("seen", ~unseen), ("unseen", unseen))
                    if members.any()
                }
        scenes = Counter(one.scene for one in self.examples)
        figures["exact_chance"] = sum((count / len(self.examples)) ** 2 for count in scenes.values())
        return figures


def _means(rows: list[dict[str, Any]], members: list[int]) -> dict[str, float]:
    names = [name for name in ("cider", "exact", "clip_score") if name in rows[0]["metrics"]]
    return {name: float(np.mean([rows[index]["metrics"][name] for index in members])) for name in names}
