"""The inference pipeline: a keystroke and the words that are suggested behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from components.engines.base.paths import read_json
from components.engines.nn.checkpoints import load_tokenizer
from components.engines.nn.device import own_device
from components.engines.serving.pipeline import SETTINGS, Pipeline
from components.smart_compose.architecture import Architecture, Composing
from components.smart_compose.networks import language_model
from components.smart_compose.serving.composer import Composer
from components.smart_compose.serving.trigger import Keystroke

THRESHOLD = "threshold.json"


def load_composer(
    model: Path, architecture: Architecture, composing: Composing, *, threshold: float, region: str
) -> Composer:
    """The trained model as a composer, on this process's device."""
    network = language_model.load(model).to(own_device())
    return Composer(network, load_tokenizer(model), architecture, composing, threshold=threshold, region=region)


class SmartCompose(Pipeline):
    """`{"typed": str, "subject": str, "previous": str, …}` -> `suggestion`, `confidence`, `id`, `wait_ms`.

    Fields of a keystroke: serving/trigger.py. Without a suggestion `refused` says why. `confidence` is the probability that
    exactly these words come. With a `session` what was computed for its earlier keystrokes is used again, and a suggestion
    that is typed along keeps its id. `wait_ms` is how long to wait after the next keystroke, for clients that tell their
    `elapsed_ms`.
    """

    fields: ClassVar[tuple[str, ...]] = ("suggestion", "confidence", "id", "wait_ms")
    example: ClassVar[list[dict[str, Any]]] = [
        {
            "typed": "Dear Anna,\nI hope this m",
            "subject": "Meeting on Friday",
            "previous": "",
            "following": "",
            "event": "type",
            "session": "example",
            "elapsed_ms": 0.0,  # a typist who does not pause waits for `min_ms`, however fast this machine answers
        },
        {"typed": "Dear Anna,\nThank you f"},  # the other fields may be left out
    ]

    def __init__(self, composer: Composer, max_chars: int) -> None:
        self.composer, self.max_chars = composer, max_chars

    @classmethod
    def load(cls, folder: Path) -> Self:
        settings = read_json(folder / SETTINGS)
        composer = load_composer(
            folder,
            Architecture(**settings["architecture"]),
            Composing(**settings["composing"]),
            threshold=read_json(folder / "threshold" / THRESHOLD)["threshold"],
            region=settings["region"],
        )
        return cls(composer, settings["max_chars"])

    def read(self, one: dict[str, Any], chosen: Any) -> Keystroke:
        return Keystroke.read(one, self.max_chars)

    def answer(self, asked: list[Keystroke], chosen: Any) -> list[dict[str, Any]]:
        return [self._shown(self.composer.answer(keystroke)) for keystroke in asked]

    def _shown(self, answer: Any) -> dict[str, Any]:
        made = answer.suggestion
        if made is None:
            return {"refused": answer.reason, "wait_ms": answer.wait_ms}
        return {"suggestion": made.text, "confidence": made.confidence, "id": made.id, "wait_ms": answer.wait_ms}
