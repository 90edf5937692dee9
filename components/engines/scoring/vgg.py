"""VGG-16 (Simonyan & Zisserman 2015) as a feature network, from weights the user has: the usual backbone of LPIPS.

torchvision is no dependency; its layout of weights is (`features.0.weight` …, timm's too), as safetensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from components.engines.base.errors import UsageError
from components.engines.scoring.perceptual import normalised

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # a pooling between each two
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class VggFeatures:
    """Maps are the last activations of the five blocks (relu1_2 … relu5_3), as LPIPS takes them; features the mean of the last.

    Images keep their size; the shorter side must be at least 16 px.
    """

    def __init__(self, blocks: Sequence[nn.Module], name: str = "vgg16") -> None:
        self.name, self.blocks = name, [block.eval() for block in blocks]

    @classmethod
    def load(cls, file: Path, name: str = "vgg16") -> VggFeatures:
        """From a safetensors file of VGG-16 without batch norm; its classifier, if there, is left unread."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        layers = vgg16_layers()
        wanted = nn.Sequential(*(layer for block in layers for layer in block))
        try:
            found = {
                key.removeprefix("features."): value
                for key, value in load_file(file).items()
                if key.startswith("features.")
            }
            wanted.load_state_dict(found)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise UsageError(
                f"Cannot load VGG-16: {' '.join(str(error).split())[:300]}",
                where=str(file),
                do="give a safetensors file with torchvision's names, features.0.weight to features.28.bias",
            ) from None
        return cls([nn.Sequential(*block) for block in layers], name)

    def features(self, images: Tensor) -> Tensor:
        return self.maps(images)[-1].mean(dim=(2, 3))

    def maps(self, images: Tensor) -> list[Tensor]:
        device = next(self.blocks[0].parameters()).device
        found, state = [], normalised(images.to(device), IMAGENET_MEAN, IMAGENET_STD)
        for block in self.blocks:
            state = block(state)
            found.append(state)
        return found


def vgg16_layers() -> list[list[nn.Module]]:
    """The 13 convolutions by block, numbered through as torchvision does: pooling opens every block but the first."""
    blocks: list[list[nn.Module]] = []
    channels = 3
    for widths in BLOCKS:
        layers: list[nn.Module] = [nn.MaxPool2d(2)] if blocks else []
        for width in widths:
            layers += [nn.Conv2d(channels, width, kernel_size=3, padding=1), nn.ReLU()]
            channels = width
        blocks.append(layers)
    return blocks
