"""The search for remembered training pictures: against all distances at once, and copies that must be found."""

import pytest
import torch

from components.engines.scoring.image_sets import memorization
from components.engines.scoring.image_sets.memorization import Memorization

SHAPE = (3, 4, 4)


@pytest.fixture
def trained_on():
    return torch.rand(23, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def search(trained_on, monkeypatch):
    """Painted and real pictures -> Memorization beside `trained_on`, of which seven are in memory at once."""
    monkeypatch.setattr(memorization, "AT_ONCE", 7)

    def make(generated, real):
        return Memorization(generated, real, list(trained_on), torch.stack)

    return make


def test_the_nearest_of_all_is_found_however_many_are_in_memory(search, trained_on):
    painted, real = torch.rand(2, 11, *SHAPE, generator=torch.Generator().manual_seed(1))
    memory = search(painted, real)
    for images, found in ((painted, memory.generated), (real, memory.real)):
        every = (images[:, None] - trained_on[None]).square().flatten(2).mean(2).sqrt()
        assert torch.allclose(found.distances, every.min(1).values, atol=1e-6)
        assert torch.equal(found.numbers, every.argmin(1))


def test_copies_are_told_from_new_pictures(search, trained_on):
    real = torch.rand(11, *SHAPE, generator=torch.Generator().manual_seed(2))
    copies = search(trained_on[5:16], real)
    assert copies.generated.numbers.tolist() == list(range(5, 16))
    assert copies.figures()["nearest_training_image"] == pytest.approx(0, abs=1e-3)
    assert copies.figures()["nearer_than_real_images"] == 1
    assert search(real.flip(0), real).figures()["nearer_than_real_images"] < 0.2
