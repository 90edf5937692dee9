"""Sliced Wasserstein distance of image patches, scale by scale (Karras et al. 2018): do textures and shapes look alike?"""

import datasets
import evaluate
import numpy as np
import torch
from torch.nn import functional

from components.engines.base.errors import StageError, UsageError
from components.engines.base.seeds import derive
from components.engines.scoring import arrays

SMALLEST_PX = 16  # the coarsest level, as in the paper
PATCH_PX = 7


class Swd(arrays.ArrayMetric):
    """Patches of 7×7 from every level of a Laplacian pyramid, compared as two sets: 0 or more, times 1000 as published.

    `predictions`: generated images, `references`: real ones, [samples, 3, height, width] from 0 to 1, the shorter side at
    least 16 px. "swd_16" is the coarsest level (layout, colours' distribution), the level of the images' own size the
    finest (edges, noise); "swd" is the mean over levels. Patches of a level are standardised per channel, so that overall
    brightness and contrast do not count. Of the larger set as many images as the smaller has are drawn.

    Sampling noise, which sets from one distribution show instead of 0, shrinks with samples × `patches` (per image); the
    paper has 16384 × 128 and 512 `directions`. Patches lie at the same places in both sets: equal images give exactly 0.
    """

    def _info(self):
        picture = datasets.Sequence(datasets.Sequence(datasets.Sequence(datasets.Value("float32"))))
        return evaluate.MetricInfo(
            description=__doc__,
            citation="https://arxiv.org/abs/1710.10196",
            features=datasets.Features({"predictions": picture, "references": picture}),
        )

    def _compute(self, predictions, references, patches=32, directions=128, seed=0):
        generated, real = arrays.images(predictions, "Predictions"), arrays.images(references, "References")
        if generated.shape[2:] != real.shape[2:]:
            raise StageError(
                f"Both sets must have one size, not {list(generated.shape[2:])} and {list(real.shape[2:])}"
            )
        if min(real.shape[2:]) < SMALLEST_PX:
            raise StageError(f"SWD needs images of at least {SMALLEST_PX} px, not {list(real.shape[2:])}")
        if patches < 1 or directions < 1:
            raise UsageError(f"SWD needs patches ≥ 1 and directions ≥ 1, not {patches} and {directions}")
        samples = min(len(generated), len(real))
        generated, real = (_chosen(pictures, samples, seed) for pictures in (generated, real))
        figures = {}
        for ours, theirs in zip(laplacian_pyramid(generated), laplacian_pyramid(real), strict=True):
            px = min(ours.shape[2:])
            generator = torch.Generator().manual_seed(derive(seed, "swd", px))
            places = _places(ours.shape, patches, generator)  # the same in both sets: less noise between like images
            lines = functional.normalize(torch.randn(3 * PATCH_PX**2, directions, generator=generator), dim=0)
            figures[f"swd_{px}"] = 1000 * sliced_wasserstein(_patches(ours, places), _patches(theirs, places), lines)
        return {"swd": float(np.mean(list(figures.values()))), **figures, "samples": samples}


def sliced_wasserstein(points, others, lines):
    """Mean over `lines` [width, directions] of the 1-D Wasserstein distance of two sets [points, width] projected on it."""
    total = 0.0
    for some in lines.split(32, dim=1):  # a few at a time: the projections of many patches fill the memory
        gaps = (points @ some).sort(dim=0).values - (others @ some).sort(dim=0).values
        total += gaps.abs().mean(dim=0).sum().item()
    return total / lines.shape[1]


def laplacian_pyramid(images):
    """[samples, 3, h, w] -> what each scale adds to the next coarser one, finest first, down to 16 px (Burt & Adelson 1983)."""
    levels = [images]
    while min(levels[-1].shape[2:]) >= 2 * SMALLEST_PX:
        coarser = _blurred(levels[-1])[:, :, ::2, ::2]
        levels[-1] = levels[-1] - _enlarged(coarser, levels[-1].shape[2:])
        levels.append(coarser)
    return levels


def _blurred(images):
    """The binomial 5×5 filter, mirrored at the borders."""
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    kernel = torch.outer(row, row).expand(images.shape[1], 1, 5, 5)
    return functional.conv2d(functional.pad(images, (2, 2, 2, 2), mode="reflect"), kernel, groups=images.shape[1])


def _enlarged(images, size):
    """Twice the size: every second pixel is known, the rest comes from the blur."""
    spread = images.new_zeros(*images.shape[:2], *size)
    spread[:, :, ::2, ::2] = images
    return 4 * _blurred(spread)


def _chosen(images, samples, seed):
    if len(images) == samples:
        return images
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(derive(seed, "swd", "images")))
    return images[order[:samples]]


def _places(shape, patches, generator):
    """Image, top and left of each patch: three tensors (samples · patches,)."""
    samples, _, height, width = shape
    image = torch.arange(samples).repeat_interleave(patches)
    tops, lefts = (torch.randint(0, side - PATCH_PX + 1, image.shape, generator=generator) for side in (height, width))
    return image, tops, lefts


def _patches(images, places):
    """Standardised patches as vectors: [samples · patches, 3 · 7 · 7]."""
    image, tops, lefts = (place.view(-1, 1, 1, 1) for place in places)
    channel, down, right = (
        torch.arange(3).view(1, -1, 1, 1),
        torch.arange(PATCH_PX).view(1, 1, -1, 1),
        torch.arange(PATCH_PX),
    )
    found = images[image, channel, tops + down, lefts + right]  # [patches, 3, 7, 7]
    found = found - found.mean(dim=(0, 2, 3), keepdim=True)
    spread = found.std(dim=(0, 2, 3), keepdim=True, correction=0)
    return (found / torch.where(spread > 1e-7, spread, 1.0)).flatten(1)  # a channel that never changes stays 0
