"""Clips at twice their frame rate: a network adds to the mean of two frames what their middle lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.engines.base.paths import read_json, write_json
from components.engines.training.checkpoints.weights import load_module

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class Interpolator(nn.Module):
    """Where from (two flows and a weight, as in Jiang et al. 2018, arXiv 1712.00080) and what is left of the middle frame.

    Frames are halved twice and enlarged again; skip connections keep what is fine.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.width = width
        self.enter = _convolution(6, width)
        self.down = nn.ModuleList([_convolution(width, width, 2), _convolution(width, 2 * width, 2)])
        self.middle = _convolution(2 * width, 2 * width)
        self.up = nn.ModuleList([_convolution(3 * width, width), _convolution(2 * width, width)])
        self.leave = nn.Conv2d(width, 8, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Frames [n, 3, h, w] in [0, 1], sides divisible by 4 -> the frame between, not yet clamped."""
        fine = self.enter(torch.cat([before, after], 1) * 2 - 1)  # [n, width, h, w]
        half = self.down[0](fine)
        quarter = self.middle(self.down[1](half))
        half = self.up[0](torch.cat([_twice(quarter), half], 1))
        found = self.leave(self.up[1](torch.cat([_twice(half), fine], 1)))  # [n, 8, h, w]
        flows, share, rest = found.split([4, 1, 3], 1)
        share = share.sigmoid()
        warped = share * _warped(before, flows[:, :2]) + (1 - share) * _warped(after, flows[:, 2:])
        return warped + rest

    @classmethod
    def load(cls, folder: Path) -> Self:
        network = cls(read_json(folder / CONFIG)["width"])
        load_module(network, folder / WEIGHTS)
        return network.eval()

    def save(self, folder: Path) -> None:
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, folder / WEIGHTS)
        write_json(folder / CONFIG, {"width": self.width})

    @torch.inference_mode()
    def interpolate(self, video: Tensor, batch_size: int = 32) -> Tensor:
        """[3, frames, h, w] in [0, 1] -> [3, 2 · frames - 1, h, w], on the CPU: every other frame is a given one."""
        device = next(self.parameters()).device
        frames = video.transpose(0, 1)  # [frames, 3, h, w]
        pairs = zip(frames[:-1].split(batch_size), frames[1:].split(batch_size), strict=True)
        made = [self(one.to(device), other.to(device)).clamp(0, 1).float().cpu() for one, other in pairs]
        out = torch.empty(2 * len(frames) - 1, *frames.shape[1:])
        out[::2] = frames
        if made:
            out[1::2] = torch.cat(made)
        return out.transpose(0, 1)


def repeated(video: Tensor) -> Tensor:
    """What interpolation is measured against: every frame but the last is shown twice."""
    return video.repeat_interleave(2, 1)[:, :-1]


def _convolution(ins: int, outs: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(ins, outs, 3, stride=stride, padding=1), nn.SiLU(), nn.Conv2d(outs, outs, 3, padding=1), nn.SiLU()
    )


def _twice(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2, mode="nearest")


def _warped(frames: Tensor, flow: Tensor) -> Tensor:
    """Each pixel from where `flow` [n, 2, h, w] (x, y; in halves of the picture) says: [n, 3, h, w]."""
    height, width = frames.shape[-2:]
    ys, xs = (
        (2 * torch.arange(side, device=frames.device, dtype=flow.dtype) + 1) / side - 1 for side in (height, width)
    )
    here = torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], -1)  # [h, w, 2]
    return functional.grid_sample(frames, here + flow.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)
