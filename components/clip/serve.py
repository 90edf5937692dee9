"""The inference pipeline of clip: scores of image–text pairs, and embeddings of either."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from components.engines.base.errors import BadRecord
from components.engines.base.paths import read_json
from components.engines.images.decode import Limits, decode_image, flat_png
from components.engines.nn.device import own_device
from components.engines.scoring.embedder import Embedder
from components.engines.serving.pipeline import SETTINGS, Pipeline


class Scorer(Pipeline):
    """`{"image": bytes of a file, "text": str}` -> `score` (the cosine of their embeddings, -1 to 1), or
    `embedding` (unit length) of what stands alone.

    Over HTTP bytes are base64 in `dataframe_records` (MLflow decodes them there, not in `inputs`); paths are never read.
    """

    fields: ClassVar[tuple[str, ...]] = ("score", "embedding")
    example: ClassVar[list[dict[str, Any]]] = [
        {"image": flat_png(32, (220, 40, 40)), "text": "a large plain red square in the top left"},
        {"image": flat_png(32, (50, 70, 220)), "text": None},
        {"image": None, "text": "a small striped green circle in the bottom right"},
    ]

    def __init__(self, embedder: Embedder, limits: Limits) -> None:
        self.embedder, self.limits = embedder, limits

    @classmethod
    def load(cls, folder: Path) -> Self:
        settings = read_json(folder / SETTINGS)
        return cls(Embedder.load(folder, settings["max_tokens"]).to(own_device()), Limits(**settings["limits"]))

    def read(self, one: dict[str, Any], chosen: Any) -> tuple[Any, str | None]:
        image, text = one.get("image"), one.get("text")
        if image is None and not str(text or "").strip():
            raise BadRecord("neither image nor text", "give one of them, or both")
        return None if image is None else decode_image(bytes(image), self.limits), None if text is None else str(text)

    def answer(self, asked: list[tuple[Any, str | None]], chosen: Any) -> list[dict[str, Any]]:
        pictures = {place: image for place, (image, _) in enumerate(asked) if image is not None}
        texts = {place: text for place, (_, text) in enumerate(asked) if text is not None}
        seen = dict(zip(pictures, self.embedder.embed_images(list(pictures.values())), strict=True)) if pictures else {}
        meant = dict(zip(texts, self.embedder.embed_texts(list(texts.values())), strict=True)) if texts else {}
        return [
            {"score": float(seen[place] @ meant[place])}
            if place in seen and place in meant
            else {"embedding": (seen if place in seen else meant)[place].tolist()}
            for place in range(len(asked))
        ]
