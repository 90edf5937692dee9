"""An independent judge of generated pictures: it says colour, shape, position, size and texture of what it sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from components.engines.base.errors import StageError
from components.engines.base.paths import read_json
from components.engines.training.checkpoints.weights import load_module
from components.engines.worlds.scenes import ATTRIBUTES, Scene

CONFIG, WEIGHTS, ABSENT = "config.json", "model.safetensors", "absent.json"


class JudgeNetwork(nn.Module):
    """Convolutions that halve the picture three times, and one linear head per attribute."""

    def __init__(self, width: int, image_px: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for ins, outs in ((3, width), (width, 2 * width), (2 * width, 2 * width)):
            layers += [nn.Conv2d(ins, outs, 3, stride=2, padding=1), nn.GroupNorm(4, outs), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Flatten())
        features = 2 * width * (image_px // 8) ** 2
        self.heads = nn.ModuleDict({name: nn.Linear(features, len(values)) for name, values in ATTRIBUTES.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """[batch, 3, image_px, image_px] in [0, 1] -> per attribute the logits of its values [batch, values]."""
        features = self.body(2 * images - 1)  # [batch, features]
        return {name: head(features) for name, head in self.heads.items()}


class Judge:
    """Recognises what a painted picture shows; attributes in the order of `engines.worlds.scenes.ATTRIBUTES`."""

    def __init__(self, network: Any, image_px: int) -> None:
        self.network, self.image_px = network.eval(), image_px

    @classmethod
    def load(cls, folder: Path) -> Judge | None:
        """None where the stage found data without truth. Raises StageError if the weights do not fit."""
        if (folder / ABSENT).exists():
            return None
        config = read_json(folder / CONFIG)
        if config["attributes"] != {name: list(values) for name, values in ATTRIBUTES.items()}:
            raise StageError("This judge knows another world", where=str(folder), do="run the judge stage again")
        network = JudgeNetwork(config["width"], config["image_px"])
        load_module(network, folder / WEIGHTS)
        return cls(network, config["image_px"])

    def to(self, device: Any) -> Self:
        self.network.to(device)
        return self

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """[n, 3, image_px, image_px] in [0, 1] -> per attribute [n, values], on the CPU."""
        with torch.inference_mode():
            answers = [self.network(piece.to(self._device)) for piece in images.split(256)]
        return {name: torch.cat([answer[name].float().cpu() for answer in answers]) for name in answers[0]}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """[n, 3, image_px, image_px] in [0, 1] -> per attribute the number of its value, int64 [n]."""
        return {name: answer.argmax(-1) for name, answer in self.logits(images).items()}

    def right(self, images: Tensor, described: Sequence[Scene]) -> Tensor:
        """Which attributes of each picture are as described: bool [n, attributes]."""
        return torch.stack(list(self.predict(images).values()), dim=1) == values_of(described)

    def joint_log_probabilities(self, images: Tensor) -> Tensor:
        """[n, classes]: log-probability of every combination of values, attributes taken as independent (for the IS)."""
        joint = torch.zeros(len(images), 1)
        for answer in self.logits(images).values():
            joint = (joint[:, :, None] + answer.log_softmax(-1)[:, None, :]).flatten(1)
        return joint

    @property
    def _device(self) -> Any:
        return next(self.network.parameters()).device


def values_of(described: Sequence[Scene]) -> Tensor:
    """Scenes as numbers into `ATTRIBUTES`: int64 [scenes, attributes]."""
    return torch.tensor(
        [[values.index(getattr(scene, name)) for name, values in ATTRIBUTES.items()] for scene in described]
    )
