"""The inference pipeline of image captioning: decode the image, say what is in it, and say it fairly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from components.engines.base.paths import read_json
from components.engines.generation.decoding import Decoding
from components.engines.images.decode import Limits, decode_image, flat_png
from components.engines.nn.device import own_device
from components.engines.serving.pipeline import SETTINGS, Pipeline
from components.engines.text.inclusive import include

if TYPE_CHECKING:
    from components.engines.generation.captioner import ImageCaptioner


class Captioner(Pipeline):
    """`{"image": bytes of a file}` -> `caption`, `score`: what is in an image, in a sentence.

    `score` is the mean log-probability of the tokens that the model wrote. Options override decoding params (`num_beams=1`). Over
    HTTP bytes are base64 in `dataframe_records` (MLflow decodes them there, not in `inputs`); paths are never read.
    """

    fields: ClassVar[tuple[str, ...]] = ("caption", "score")
    example: ClassVar[list[dict[str, Any]]] = [
        {"image": flat_png(32, (220, 40, 40))},
        {"image": flat_png(48, (50, 70, 220))},
    ]

    def __init__(self, captioner: ImageCaptioner, decoding: Decoding, limits: Limits, *, inclusive: bool) -> None:
        self.captioner, self.decoding, self.limits, self.inclusive = captioner, decoding, limits, inclusive

    @classmethod
    def load(cls, folder: Path) -> Self:
        from components.engines.generation.captioner import ImageCaptioner

        settings = read_json(folder / SETTINGS)
        decoding, limits = Decoding(**settings["decoding"]), Limits(**settings["limits"])
        return cls(ImageCaptioner.load(folder).to(own_device()), decoding, limits, inclusive=settings["inclusive"])

    def choose(self, options: dict[str, Any]) -> Decoding:
        return self.decoding.changed({**options, "num_return_sequences": 1})

    def read(self, one: dict[str, Any], chosen: Decoding) -> Any:
        return decode_image(bytes(one.get("image") or b""), self.limits)

    def answer(self, asked: list[Any], chosen: Decoding) -> list[dict[str, Any]]:
        return [
            {"caption": include(made.text).text if self.inclusive else made.text, "score": made.score}
            for made in self.captioner.caption(asked, chosen)
        ]
