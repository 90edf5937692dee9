"""The inference pipeline: decode the image, say what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from components.engines.base.paths import read_json
from components.engines.generation.captioner import ImageCaptioner
from components.engines.generation.decoding import Decoding
from components.engines.images.decode import Limits, decode_image, flat_png
from components.engines.nn.device import own_device
from components.engines.serving.pipeline import SETTINGS, Pipeline


class Captioner(Pipeline):
    """`{"image": bytes of a file}` -> `caption`, `score`: the mean log-probability of the tokens that the model wrote.

    Options override decoding params (`max_new_tokens=8`).
    """

    fields: ClassVar[tuple[str, ...]] = ("caption", "score")
    example: ClassVar[list[dict[str, Any]]] = [{"image": flat_png(32, (220, 40, 40))}]

    def __init__(self, captioner: ImageCaptioner, settings: dict[str, Any]) -> None:
        self.captioner = captioner
        self.decoding, self.limits = Decoding(**settings["decoding"]), Limits(**settings["limits"])

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls(ImageCaptioner.load(folder).to(own_device()), read_json(folder / SETTINGS))

    def choose(self, options: dict[str, Any]) -> Decoding:
        return self.decoding.changed({**options, "num_return_sequences": 1})

    def read(self, one: dict[str, Any], chosen: Decoding) -> Any:
        return decode_image(bytes(one.get("image") or b""), self.limits)

    def answer(self, asked: list[Any], chosen: Decoding) -> list[dict[str, Any]]:
        return [{"caption": said.text, "score": said.score} for said in self.captioner.caption(asked, chosen)]
