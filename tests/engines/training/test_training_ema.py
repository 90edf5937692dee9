import pytest
import torch
from torch import nn

from components.engines.training.checkpoints.weights import module_tensors
from components.engines.training.ema import Ema, decay_at


def test_the_average_follows_the_formula_and_forgets_the_start():
    module = nn.Linear(2, 1)
    ema = Ema({"m": module_tensors(module)}, 0.9)
    expected = module.weight.detach().clone()
    for step in range(50):
        with torch.no_grad():
            module.weight.copy_(torch.full((1, 2), float(step)))
        ema.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * module.weight.detach()
    assert torch.allclose(ema.shadow["m"]["weight"], expected, atol=1e-5)


def test_the_decay_grows_to_its_limit():
    assert decay_at(0.99, 0) == pytest.approx(0.1)
    assert decay_at(0.99, 10**6) == 0.99


def test_counters_are_copied_and_floating_buffers_averaged():
    module = nn.BatchNorm1d(3)
    ema = Ema({"m": module_tensors(module)}, 0.5)
    module(torch.randn(8, 3) + 5)
    ema.update(0)
    assert int(ema.shadow["m"]["num_batches_tracked"]) == 1
    assert 0 < float(ema.shadow["m"]["running_mean"].mean()) < 5


def test_applied_weights_are_put_back_exactly_even_after_an_error():
    module = nn.Linear(3, 3)
    ema = Ema({"m": module_tensors(module)}, 0.9)
    with torch.no_grad():
        module.weight.normal_()
    live, average = module.weight.detach().clone(), ema.shadow["m"]["weight"].clone()

    def fails() -> None:
        with ema.applied():
            assert torch.equal(module.weight, average)
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fails()
    assert torch.equal(module.weight, live)
    assert torch.equal(ema.shadow["m"]["weight"], average)
