"""The inference pipeline of image captioning: decode the image, say what is in it, and say it fairly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from components.engines.base.errors import BadRecord
from components.engines.base.paths import read_json
from components.engines.captioned.fairness import include
from components.engines.generation.decoding import Decoding
from components.engines.sources.images import Limits, decode_image, flat_png

if TYPE_CHECKING:
    from components.engines.generation.captioner import ImageCaptioner

SETTINGS = "serving.json"  # beside the weights: decoding and limits of this version


class Captioner:
    """Says in a sentence what is in an image.

    Used by `genworks predict`, by the MLflow model and by the loading check of the promotion gate alike.
    """

    example: ClassVar[list[dict[str, Any]]] = [
        {"image": flat_png(32, (220, 40, 40))},
        {"image": flat_png(48, (50, 70, 220))},
    ]

    def __init__(self, captioner: ImageCaptioner, decoding: Decoding, limits: Limits, *, inclusive: bool) -> None:
        self.captioner, self.decoding, self.limits, self.inclusive = captioner, decoding, limits, inclusive

    @classmethod
    def load(cls, folder: Path) -> Captioner:
        from components.engines.generation.captioner import ImageCaptioner

        settings = read_json(folder / SETTINGS)
        decoding, limits = Decoding(**settings["decoding"]), Limits(**settings["limits"])
        return cls(ImageCaptioner.load(folder), decoding, limits, inclusive=settings["inclusive"])

    def predict(self, inputs: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
        """`[{"image": bytes of a file}]` -> `[{"caption": str, "score": float, "problem": str}]`, in order.

        `score` is the mean log-probability of the tokens that the model wrote. An image that cannot be decoded gets neither, and
        `problem` says why. `options` override decoding params (`num_beams=1`). Over HTTP bytes are base64 in `dataframe_records`
        (MLflow decodes them there, not in `inputs`); paths are never read.
        """
        decoding = Decoding(**{**self.decoding.model_dump(), **options, "num_return_sequences": 1})
        answers: list[dict[str, Any]] = [{"caption": None, "score": None, "problem": None} for _ in inputs]
        pictures: dict[int, Any] = {}
        for position, one in enumerate(inputs):
            try:
                pictures[position] = decode_image(bytes(one.get("image") or b""), self.limits)
            except BadRecord as bad:
                answers[position]["problem"] = str(bad)
        generated = self.captioner.caption(list(pictures.values()), decoding)
        for position, said in zip(pictures, generated, strict=True):
            caption = include(said.text).text if self.inclusive else said.text
            answers[position] |= {"caption": caption, "score": said.score}
        return answers
