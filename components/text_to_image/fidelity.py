"""How near pictures are to others: painted to real ones, decoded to encoded ones, an optimised network's to its teacher's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from components.engines.base.seeds import derive
from components.engines.captioned.dataset import CaptionedImages
from components.engines.scoring.metrics import compute
from components.engines.scoring.modules.fid import fid
from components.engines.scoring.modules.kid import kid
from components.engines.scoring.modules.lpips import lpips
from components.engines.scoring.modules.psnr import psnr
from components.engines.scoring.modules.swd import swd
from components.engines.scoring.perceptual import ClipFeatures, features_of
from components.text_to_image.pictures import to_unit
from components.text_to_image.upscaler import Upscaler, bicubic

if TYPE_CHECKING:
    from torch import Tensor

    from components.text_to_image.trial import Trial

KID_SUBSET = 100
LEAST_PX = 16  # of a picture that SWD can make a pyramid of


def distances(trial: Trial, features: ClipFeatures, curated: Path) -> dict[str, float]:
    """Fréchet, kernel and sliced Wasserstein distance from the real test pictures: of the painted ones, of training
    pictures (the oracle), of noise and of their mean picture (trivial)."""
    train = CaptionedImages(curated, "train")
    generator = torch.Generator().manual_seed(derive(trial.params.seed, "noise"))
    sets = {
        "": trial.painted[trial.chosen],
        "_student": trial.painted["student"],
        "_training_images": trial.pixels(train[: len(trial.pairs)]),
        "_noise": torch.rand(trial.real.shape, generator=generator),
        "_mean_image": _mean_image(trial.real),
    }
    real = features_of(features, trial.real).numpy()
    subset = min(KID_SUBSET, len(real))
    figures = {}
    for control, images in sets.items():
        found = features_of(features, images).numpy()
        if len(found) > 1:
            figures[f"fid_clip{control}"] = compute(fid, found, real, network="clip")["fid_clip"]
        if len(found) >= subset:
            kernel = compute(kid, found, real, network="clip", subset_size=subset)
            figures[f"kid_clip{control}"] = kernel["kid_clip"]
        if min(trial.real.shape[2:]) >= LEAST_PX:
            figures[f"swd{control}"] = compute(swd, images, trial.real)["swd"]
    return figures


def autoencoder_loss(trial: Trial, features: ClipFeatures) -> dict[str, float]:
    """How much a picture loses by encoding and decoding, beside the mean picture in place of each."""
    real, made, mean = trial.real, trial.reconstructed, _mean_image(trial.real)
    return {
        "psnr_autoencoder": compute(psnr, made, real)["psnr"],
        "psnr_mean_image": compute(psnr, mean, real)["psnr"],
        "lpips_clip_autoencoder": compute(lpips, made, real, network=features)["lpips_clip"],
        "lpips_clip_mean_image": compute(lpips, mean, real, network=features)["lpips_clip"],
    }


def likeness_to_teacher(trial: Trial, order: np.ndarray) -> dict[str, float]:
    """How near the optimised networks' pictures are to the teacher's of the same seed (PSNR), beside the teacher's in as few
    steps and those of other prompts, as `order` [n] names them."""
    painted = trial.painted
    teacher = painted[trial.chosen]
    others = {
        "student": painted["student"],
        "few_steps": painted["teacher in few steps"],
        "int8": painted["int8"],
        "shuffled": teacher[order],
    }
    return {f"psnr_to_teacher_{name}": compute(psnr, images, teacher)["psnr"] for name, images in others.items()}


def enlargement(trial: Trial, super_resolution: Path) -> dict[str, float]:
    """The upscaler against bicubic enlargement, on test pictures that are large enough to be made small first."""
    upscaler = Upscaler.load(super_resolution)
    px = trial.image_px * upscaler.factor
    large = [one.open() for one in trial.pairs]
    large = [picture for picture in large if min(picture.size) >= px]
    if not large:
        return {}
    originals, small = to_unit(large, px), to_unit(large, trial.image_px)
    made, plain = upscaler.upscale(small), bicubic(small, upscaler.factor).clamp(0, 1)
    ours, theirs = compute(psnr, made, originals)["psnr"], compute(psnr, plain, originals)["psnr"]
    return {"psnr_upscaled": ours, "psnr_bicubic": theirs, "upscaling_gain": ours - theirs}


def _mean_image(images: Tensor) -> Tensor:
    return images.mean(0, keepdim=True).expand_as(images)
