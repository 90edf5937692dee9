"""A network that sees motion: what an independent judge says of clips, and the features that FVD rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from components.engines.base.errors import StageError
from components.engines.base.paths import read_json
from components.engines.training.checkpoints.weights import load_module
from components.text_to_video.world.motion import ATTRIBUTES, Motion

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class MotionNetwork(nn.Module):
    """3-D convolutions (Tran et al. 2015, arXiv 1412.0767) that halve the frames three times and time once; one head an
    attribute on features of `features` numbers."""

    def __init__(self, width: int, features: int, frames: int, px: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        sizes = ((3, width, (1, 2, 2)), (width, 2 * width, (1, 2, 2)), (2 * width, 2 * width, (2, 2, 2)))
        for ins, outs, stride in sizes:
            layers += [nn.Conv3d(ins, outs, 3, stride=stride, padding=1), nn.GroupNorm(4, outs), nn.ReLU()]
        flat = 2 * width * ((frames + 1) // 2) * (px // 8) ** 2
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, features), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(features, len(values)) for name, values in ATTRIBUTES.items()})

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """[batch, 3, frames, px, px] in [0, 1] -> per attribute the logits of its values [batch, values]."""
        features = self.body(2 * clips - 1)  # [batch, features]
        return {name: head(features) for name, head in self.heads.items()}


class MotionJudge:
    """Recognises what a clip shows and how it moves. Clips are [n, 3, frames, px, px] in [0, 1]; answers come on the CPU.

    `name` stands in the names of figures that rest on its features.
    """

    name = "motion_network"

    def __init__(self, network: MotionNetwork) -> None:
        self.network = network.eval()

    @classmethod
    def load(cls, folder: Path) -> Self:
        config = read_json(folder / CONFIG)
        if config["attributes"] != {name: list(values) for name, values in ATTRIBUTES.items()}:
            raise StageError("This judge knows another world", where=str(folder), do="run the stage train_judge again")
        shape = {name: config[name] for name in ("width", "features", "frames", "px")}
        network = MotionNetwork(**shape)
        load_module(network, folder / WEIGHTS)
        return cls(network)

    def to(self, device: Any) -> Self:
        self.network.to(device)
        return self

    def features(self, clips: Tensor) -> Tensor:
        """[n, features], float64: what the Fréchet video distance compares."""
        return self._over(clips, self.network.body).double()

    def predict(self, clips: Tensor) -> dict[str, list[str]]:
        """Per attribute its value in each clip."""
        found = self._over(clips, lambda part: torch.stack([one.argmax(-1) for one in self.network(part).values()], 1))
        return {
            name: [ATTRIBUTES[name][int(number)] for number in found[:, column]]
            for column, name in enumerate(self.network.heads)
        }

    def joint_log_probabilities(self, clips: Tensor) -> Tensor:
        """[n, classes]: log-probability of every colour and shape (for the Inception score)."""

        def joint(part: Tensor) -> Tensor:
            answers = self.network(part)
            colour, shape = (answers[name].float().log_softmax(-1) for name in ("colour", "shape"))
            return (colour[:, :, None] + shape[:, None, :]).flatten(1)

        return self._over(clips, joint)

    @torch.inference_mode()
    def _over(self, clips: Tensor, function: Any) -> Tensor:
        device = next(self.network.parameters()).device
        return torch.cat([function(part.to(device)).cpu() for part in clips.split(64)])


def values_of(described: list[Motion]) -> Tensor:
    """Scenes as numbers into `ATTRIBUTES`: int64 [scenes, attributes]."""
    return torch.tensor(
        [[values.index(getattr(scene, name)) for name, values in ATTRIBUTES.items()] for scene in described]
    )
