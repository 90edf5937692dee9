"""Fréchet video distance with the motion network's features, and whether it can be trusted: what is worse must be further.

FVD is Unterthiner et al. 2018 (arXiv 1812.01717), there with I3D's features; the network stands in the figure's name.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from components.engines.base.seeds import derive
from components.engines.scoring.metrics import compute
from components.engines.scoring.modules.fid import fid
from components.engines.super_resolution.degradation import blurred

ORDER = (
    "real",
    "reversed",
    "blurred",
    "shuffled",
    "frozen",
)  # as distances must rise; noise is further than shuffled, too
_BLUR_PX, _NOISE = 2.0, 0.3


def worsened(clips: Tensor, seed: int) -> dict[str, Tensor]:
    """Real clips [n, 3, frames, px, px] in [0, 1], and the same made worse in time or in space."""
    generator = torch.Generator().manual_seed(derive(seed, "worsened"))
    n, _, frames = clips.shape[:3]
    orders = torch.stack([_another_order(frames, generator) for _ in range(n)])
    every = torch.arange(n)[:, None]
    soft = blurred(clips.flatten(1, 2), torch.full((n, 1), _BLUR_PX)).reshape(clips.shape)
    middle = frames // 2
    return {
        "real": clips,
        "reversed": clips.flip(2),
        "blurred": soft,
        "shuffled": clips.transpose(1, 2)[every, orders].transpose(1, 2),
        "frozen": clips[:, :, middle : middle + 1].expand_as(clips),
        "noise": (clips + _NOISE * torch.randn(clips.shape, generator=generator)).clamp(0, 1),
    }


def video_distances(judge: Any, sets: dict[str, Tensor], reference: Tensor) -> dict[str, float]:
    """FVD of each set of clips from the `reference` clips."""
    known = judge.features(reference).numpy()
    figures = {}
    for ending, clips in sets.items():
        found = compute(fid, judge.features(clips).numpy(), known, network=judge.name)[f"fid_{judge.name}"]
        figures[f"fvd_{judge.name}{ending}"] = found
    return figures


def frame_distances(features: Any, sets: dict[str, Tensor], reference: Tensor) -> dict[str, float]:
    """Fréchet distance of all frames of each set, whatever their order: blind to time."""
    known = frame_features(features, reference)
    name = features.name
    return {
        f"frame_fid_{name}{ending}": compute(fid, frame_features(features, clips), known, network=name)[f"fid_{name}"]
        for ending, clips in sets.items()
    }


def frame_features(features: Any, clips: Tensor) -> Any:
    from components.engines.scoring.perceptual import features_of

    return features_of(features, frames_of(clips)).numpy()


def frames_of(clips: Tensor) -> Tensor:
    """[n, 3, frames, px, px] -> [n · frames, 3, px, px]"""
    return clips.transpose(1, 2).flatten(0, 1)


def _another_order(count: int, generator: torch.Generator) -> Tensor:
    if count < 2:
        return torch.arange(count)
    while True:
        order = torch.randperm(count, generator=generator)
        if not torch.equal(order, torch.arange(count)):
            return order
