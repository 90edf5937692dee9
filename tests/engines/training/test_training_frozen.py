"""Frozen parameters are not saved, and whoever goes on must have the same."""

import pytest
import torch
import toy_adapter
from safetensors.torch import load_file
from toy_fits import fit_here, outcome, saved, training

from components.engines.base.errors import StageError, UsageError
from components.engines.base.seeds import seed_everything
from components.engines.training.checkpoints.weights import load_module

ADAPTER = {"head.lora_a.weight", "head.lora_b.weight", "head.seen"}
SETTINGS = training(ema_decay=0.9, score_every=6, select="best", checkpoint_every=4)


def built(shift=0.0):
    seed_everything(0, "build")
    return toy_adapter.make_task(shift).model


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return fit_here("toy_adapter", SETTINGS, tmp_path_factory.mktemp("whole"))


def stopped(work):
    with pytest.raises(KeyboardInterrupt):
        fit_here("toy_adapter", SETTINGS, work, stop_after=8)
    return work


def test_an_adapters_checkpoint_is_the_adapter_and_resumes_bitwise(whole, tmp_path):
    work = stopped(tmp_path)
    for group in ("module.model", "ema.model"):
        assert saved(work, 8, group).keys() == ADAPTER
    assert outcome(fit_here("toy_adapter", SETTINGS, work)) == outcome(whole)


def test_the_final_weights_are_the_adapter_and_fit_their_base_alone(whole):
    path = whole.weights / "model.safetensors"
    assert load_file(path).keys() == ADAPTER
    model = built()
    load_module(model, path)
    assert torch.equal(model.head.lora_b.weight, load_file(path)["head.lora_b.weight"])
    assert model.head.lora_b.weight.any()
    with pytest.raises(StageError, match="trained on another base"):
        load_module(built(shift=1e-6), path)


def test_a_checkpoint_of_another_base_is_refused(tmp_path):
    work = stopped(tmp_path)
    with pytest.raises(UsageError, match="other frozen parameters: those of model differ"):
        fit_here("toy_adapter", SETTINGS, work, shift=1e-6)
