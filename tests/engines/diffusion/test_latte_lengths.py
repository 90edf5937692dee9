"""Latte on clips of other lengths than it was made for."""

import pytest
import torch
from diffusers import LatteTransformer3DModel

from components.engines.diffusion.denoiser import denoise


def latte(frames):
    torch.manual_seed(0)
    return LatteTransformer3DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=4, num_layers=2, cross_attention_dim=16,
        sample_size=4, patch_size=1, caption_channels=6, video_length=frames, attention_bias=True, norm_type="ada_norm_single",
        norm_elementwise_affine=False, norm_eps=1e-6,
    ).eval()  # fmt: skip


@pytest.mark.parametrize("made_for", [2, 3, 7])
@torch.no_grad()
def test_it_predicts_what_the_same_network_made_for_that_length_does(made_for):
    network, text, mask = latte(made_for), torch.randn(2, 5, 6), torch.ones(2, 5)
    for frames in (5, 1, 3, 2):
        latents = torch.randn(2, 4, frames, 4, 4)
        own = latte(frames)
        own.load_state_dict(network.state_dict())
        expected = own(latents, torch.tensor([3, 9]), text).sample
        torch.testing.assert_close(denoise(network, latents, torch.tensor([3, 9]), text, mask), expected)
