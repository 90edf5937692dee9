"""A step whose figures are not finite is kept, to be looked at."""

import math

import pytest
import torch
import toy_language_model
from safetensors.torch import load_file
from toy_fits import fit_here, start, training

from components.engines.base.errors import StageError
from components.engines.base.paths import read_json
from components.engines.training.batches import sample_order
from components.engines.training.faults import dump

LM = "toy_language_model"
POISON = 5  # first token of the sixth step's first sample


@pytest.fixture
def poisoned(monkeypatch):
    """Batches whose first sample begins with POISON have no finite loss: it is the data that do it."""
    plain = toy_language_model.ToyLanguageModel.loss

    def loss(self, batch):
        value, sums = plain(self, batch)
        return (value * math.nan if batch["tokens"][0, 0] == POISON else value), sums

    monkeypatch.setattr(toy_language_model.ToyLanguageModel, "loss", loss)


def dumped(work):
    (folder,) = work.glob("dump-step-*")
    return folder, read_json(folder / "dump.json")


@pytest.mark.usefixtures("poisoned")
def test_the_batches_and_samples_of_the_step_are_kept(tmp_path):
    settings = training(accumulation_steps=2, checkpoint_every=2, ema_decay=0.9)
    with pytest.raises(StageError, match=r"lm_loss is nan; .*its batches are in .*dump-step-") as error:
        fit_here(LM, settings, tmp_path)
    folder, about = dumped(tmp_path)
    assert str(folder) in str(error.value)
    assert folder.name == f"dump-step-{about['step'] + 1:08d}"
    assert about["settings"] == settings.identity()
    assert about["figures"]["lm_loss"] == "nan"
    task = toy_language_model.make_task()
    order = sample_order(task, settings).step(about["step"])
    assert about["samples"] == order.tolist()
    batches = load_file(folder / "rank-0.safetensors")
    tokens = torch.cat([batches["0.tokens"], batches["1.tokens"]])
    assert torch.equal(tokens, task.batch(order, int(about["step"] * 16 // 50))["tokens"])
    assert POISON in tokens[:, 0]


@pytest.fixture
def steep(monkeypatch):
    """From the fifth batch on, a gradient that is not finite under a loss that is."""
    plain, calls = toy_language_model.ToyLanguageModel.loss, []

    def loss(self, batch):
        value, sums = plain(self, batch)
        calls.append(1)
        zero = (self.model.positions * 0).sum() if len(calls) >= 5 else torch.ones((), requires_grad=True)
        return value + torch.sqrt(zero) * 0, sums

    monkeypatch.setattr(toy_language_model.ToyLanguageModel, "loss", loss)


@pytest.mark.usefixtures("steep")
@pytest.mark.parametrize(("every", "base"), [(3, "checkpoints/step-00000003"), (100, None)])
def test_exploding_gradients_are_told_with_the_checkpoint_that_the_run_stood_on(every, base, tmp_path):
    with pytest.raises(StageError, match="step 5, turn 'lm': grad_norm is nan"):
        fit_here(LM, training(checkpoint_every=every), tmp_path)
    assert dumped(tmp_path)[1]["checkpoint"] == base


def test_every_rank_keeps_its_own_share_though_one_alone_is_ill(tmp_path):
    settings = training(checkpoint_every=3, log_every=2)
    process = start("toy_faults", settings, tmp_path, processes=2, fault="nan", at=5, rank=1)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "step 5, turn 'lm': grad_norm is nan, lm_loss is nan" in errors
    folder, about = dumped(tmp_path)
    assert folder.name == "dump-step-00000005"
    assert (about["world"], about["checkpoint"]) == (2, "checkpoints/step-00000003")
    shares = [load_file(folder / f"rank-{rank}.safetensors")["0.tokens"] for rank in (0, 1)]
    assert [len(share) for share in shares] == [8, 8]
    assert not torch.equal(*shares)


@pytest.mark.usefixtures("poisoned")
def test_a_dump_that_fails_does_not_hide_why_the_run_stopped(tmp_path, monkeypatch):
    def full(path, tensors):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(dump, "write_tensors", full)
    with pytest.raises(StageError, match=r"lm_loss is nan.*could not be dumped \(The disk is full"):
        fit_here(LM, training(checkpoint_every=2), tmp_path)
