"""The inference pipeline of clip: scores of image–text pairs, and embeddings of either."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from components.engines.base.errors import BadRecord, UsageError
from components.engines.base.paths import read_json
from components.engines.scoring.embedder import Embedder
from components.engines.sources.images import Limits, decode_image, flat_png

SETTINGS = "serving.json"  # beside the weights: limits of this version


class Scorer:
    """Scores how well texts fit images (the cosine of their embeddings, -1 to 1), or embeds what stands alone."""

    example: ClassVar[list[dict[str, Any]]] = [
        {"image": flat_png(32, (220, 40, 40)), "text": "a large plain red square in the top left"},
        {"image": flat_png(32, (50, 70, 220)), "text": None},
        {"image": None, "text": "a small striped green circle in the bottom right"},
    ]

    def __init__(self, embedder: Embedder, limits: Limits) -> None:
        self.embedder, self.limits = embedder, limits

    @classmethod
    def load(cls, folder: Path) -> Scorer:
        settings = read_json(folder / SETTINGS)
        return cls(Embedder.load(folder, settings["max_tokens"]), Limits(**settings["limits"]))

    def predict(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """`[{"image": bytes of a file, "text": str}]` -> `[{"score": float, "embedding": [float], "problem": str}]`, in order.

        Either may be left out: then the other's embedding (unit length) is given in place of a score. An image that cannot be
        decoded gets neither, and `problem` says why. Over HTTP bytes are base64 in `dataframe_records` (MLflow decodes them
        there, not in `inputs`); paths are never read.
        """
        answers: list[dict[str, Any]] = [{"score": None, "embedding": None, "problem": None} for _ in inputs]
        pictures, texts = self._pictures(inputs, answers), self._texts(inputs)
        images = (
            dict(zip(pictures, self.embedder.embed_images(list(pictures.values())), strict=True)) if pictures else {}
        )
        wordings = dict(zip(texts, self.embedder.embed_texts(list(texts.values())), strict=True)) if texts else {}
        for position, answer in enumerate(answers):
            found = [vectors[position] for vectors in (images, wordings) if position in vectors]
            if answer["problem"] is None and len(found) == 2:
                answer["score"] = float(found[0] @ found[1])
            elif answer["problem"] is None:
                answer["embedding"] = found[0].tolist()
        return answers

    def _pictures(self, inputs: list[dict[str, Any]], answers: list[dict[str, Any]]) -> dict[int, Any]:
        pictures = {}
        for position, one in enumerate(inputs):
            if one.get("image") is None:
                continue
            try:
                pictures[position] = decode_image(bytes(one["image"]), self.limits)
            except BadRecord as bad:
                answers[position]["problem"] = str(bad)
        return pictures

    def _texts(self, inputs: list[dict[str, Any]]) -> dict[int, str]:
        texts = {}
        for position, one in enumerate(inputs):
            if one.get("text") is not None:
                texts[position] = str(one["text"])
            elif one.get("image") is None:
                raise UsageError(
                    "An input has neither image nor text", where=f"input {position + 1}", do="give one of them"
                )
        return texts
