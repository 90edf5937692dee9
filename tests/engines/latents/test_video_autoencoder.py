"""A video autoencoder before and amid its training: it begins as one of pictures, and learns of more frames by and by."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from components.engines.latents.video import VideoAutoencoderShape, build_video_autoencoder
from components.engines.latents.video_reconstruction import VideoReconstruction
from components.engines.videos.buckets import Bucket

BUCKET = Bucket(frames=9, height=16, width=16)


def build(**changes):
    torch.manual_seed(0)
    return build_video_autoencoder(VideoAutoencoderShape(widths=(4, 8, 8), latent_channels=4, **changes), 16)


@pytest.mark.parametrize("halve_time", [(True, True), (False, True), (True, False)])
def test_at_the_start_a_still_video_is_its_picture_again_and_again(halve_time):
    autoencoder = build(halve_time=halve_time, residual=False).eval()
    picture = torch.rand(2, 3, 1, 16, 16) * 2 - 1
    with torch.no_grad():
        latents = autoencoder.encode(picture.expand(-1, -1, 9, -1, -1)).latent_dist.mode()
        alone = autoencoder.encode(picture).latent_dist.mode()
        torch.testing.assert_close(latents, alone.expand_as(latents))
        again = autoencoder.decode(latents).sample
        torch.testing.assert_close(again, autoencoder.decode(alone).sample.expand_as(again))


@pytest.mark.parametrize("residual", [True, False])
def test_all_that_works_in_time_can_be_learnt(residual):
    autoencoder = build(residual=residual)
    # the last layer of a block is 0 at first, and what stands before it learns a step later
    for module in autoencoder.modules():
        for weight in module.parameters(recurse=False):
            if not weight.any() and weight.ndim == 5 and weight.shape[2:] == (3, 3, 3):
                torch.nn.init.normal_(weight, std=0.1)
    clips = torch.rand(2, 3, 9, 16, 16) * 2 - 1
    autoencoder.decode(autoencoder.encode(clips).latent_dist.mode()).sample.square().sum().backward()
    in_time = [(name, one) for name, one in autoencoder.named_parameters() if one.ndim == 5 and one.shape[2] == 3]
    assert len(in_time) > 10
    assert not [name for name, one in in_time if one.grad is None or not one.grad[:, :, :-1].any()]


class Clip:
    """Nine frames; each is as bright as its number."""

    def __init__(self):
        self.metadata = {"frames": 9}

    def frames(self):
        return np.broadcast_to(np.arange(9, dtype=np.uint8)[:, None, None, None], (9, 16, 16, 3))


@pytest.mark.parametrize(("step", "frames"), [(0, 1), (1, 1), (2, 5), (4, 5), (5, 9)])
def test_pictures_come_first_then_a_few_frames_in_turn_then_whole_clips(step, frames):
    autoencoder, seen = build(), []
    encode = autoencoder.encode
    autoencoder.encode = lambda pixels: seen.append(pixels) or encode(pixels)
    task = VideoReconstruction(
        autoencoder, [Clip()] * 64, [Clip()], bucket=BUCKET, picture_steps=2, short_steps=3, kl_weight=1e-5, seed=0
    )
    autoencoder.decode = lambda latents: SimpleNamespace(sample=torch.zeros_like(seen[0]))
    task.step = step
    _, sums = task.loss(task.batch(np.arange(64), 0))
    numbers = ((seen[0][:, 0, :, 0, 0] / 2 + 0.5) * 255).round().int()  # [clips, frames]
    assert numbers.shape == (64, frames)
    assert torch.equal(numbers, numbers[:, :1] + torch.arange(frames))
    assert len(set(numbers[:, 0].tolist())) == 10 - frames  # every place that such a window can have
    whole_clips = 64 * 3 * 9 * 16 * 16
    assert sums["mse"].item() == pytest.approx(seen[0].square().mean().item() * whole_clips, rel=1e-5)
