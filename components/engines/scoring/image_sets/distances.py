"""How near sets of pictures are to real ones, beside what needs no model: noise, the mean picture, other real pictures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from components.engines.base.seeds import derive
from components.engines.scoring.metrics import compute
from components.engines.scoring.modules.fid import fid
from components.engines.scoring.modules.kid import kid
from components.engines.scoring.modules.lpips import lpips
from components.engines.scoring.modules.psnr import psnr
from components.engines.scoring.modules.swd import swd
from components.engines.scoring.perceptual import features_of

KID_SUBSET = 100
LEAST_PX = 16  # of a picture that SWD can make a pyramid of


def distances(sets: dict[str, Tensor], real: Tensor, features: Any, seed: int) -> dict[str, float]:
    """Fréchet, kernel and sliced Wasserstein distance of each set from the `real` pictures; figures end as the set is called.

    Pictures are [n, 3, px, px] in [0, 1]. Sets of noise and of the mean real picture are added: what is no nearer than they are
    shows nothing. `features` is a network of scoring/perceptual.py; its name is in the figures'.
    """
    generator = torch.Generator().manual_seed(derive(seed, "noise"))
    sets = {**sets, "_noise": torch.rand(real.shape, generator=generator), "_mean_image": mean_image(real)}
    known = features_of(features, real).numpy()
    name, subset = features.name, min(KID_SUBSET, len(known))
    figures = {}
    for ending, images in sets.items():
        found = features_of(features, images).numpy()
        if len(found) > 1:
            figures[f"fid_{name}{ending}"] = compute(fid, found, known, network=name)[f"fid_{name}"]
        if len(found) >= subset:
            kernel = compute(kid, found, known, network=name, subset_size=subset)
            figures[f"kid_{name}{ending}"] = kernel[f"kid_{name}"]
        if min(real.shape[2:]) >= LEAST_PX:
            figures[f"swd{ending}"] = compute(swd, images, real)["swd"]
    return figures


def reconstruction_loss(real: Tensor, made: Tensor, features: Any) -> dict[str, float]:
    """How much a picture loses by encoding and decoding, beside the mean picture in place of each."""
    mean, name = mean_image(real), features.name
    return {
        "psnr_autoencoder": compute(psnr, made, real)["psnr"],
        "psnr_mean_image": compute(psnr, mean, real)["psnr"],
        f"lpips_{name}_autoencoder": compute(lpips, made, real, network=features)[f"lpips_{name}"],
        f"lpips_{name}_mean_image": compute(lpips, mean, real, network=features)[f"lpips_{name}"],
    }


def mean_image(images: Tensor) -> Tensor:
    return images.mean(0, keepdim=True).expand_as(images)
