"""Experts that choose their tokens: balanced, independent of neighbours, saved and loaded."""

import torch

from components.engines.diffusion.denoiser import denoise, load_denoiser
from components.engines.diffusion.video import VideoDenoiserShapes, build_video_denoiser
from components.engines.nn.experts import ExpertChoice

SHAPES = VideoDenoiserShapes(wan={"width": 16, "layers": 2, "heads": 2, "experts": 3})


def test_a_samples_answer_does_not_depend_on_what_is_beside_it():
    torch.manual_seed(0)
    layer, tokens = ExpertChoice(8, 16, experts=4, capacity=2.0), torch.randn(3, 12, 8)
    together = layer(tokens)
    assert together.shape == tokens.shape
    for number in range(3):
        torch.testing.assert_close(layer(tokens[number : number + 1])[0], together[number])


def test_one_expert_that_takes_every_token_is_a_dense_network():
    torch.manual_seed(0)
    layer, tokens = ExpertChoice(8, 16, experts=1, capacity=1.0), torch.randn(2, 5, 8)
    dense = torch.nn.functional.gelu(tokens @ layer.enter[0], approximate="tanh") @ layer.leave[0]
    torch.testing.assert_close(layer(tokens), dense)


def test_every_expert_and_the_router_learn():
    torch.manual_seed(0)
    layer = ExpertChoice(8, 16, experts=4, capacity=1.0)
    layer(torch.randn(2, 12, 8)).square().sum().backward()
    assert (layer.enter.grad.abs().sum((1, 2)) > 0).all()
    assert layer.router.weight.grad.abs().sum() > 0


def test_a_denoiser_of_experts_is_saved_and_loaded(tmp_path):
    torch.manual_seed(0)
    network = build_video_denoiser(SHAPES, 4, 3, 4, 12, 5).eval()
    network.save_pretrained(tmp_path / "transformer", safe_serialization=True)
    again = load_denoiser(tmp_path, "transformer").eval()
    assert again.config.num_experts == 3
    given = torch.randn(2, 4, 3, 4, 4), torch.tensor([10, 900]), torch.randn(2, 5, 12), torch.ones(2, 5)
    with torch.no_grad():
        torch.testing.assert_close(denoise(again, *given), denoise(network, *given))
