"""A step whose figures are not finite is kept, and can be computed again."""

import json
import math
from functools import partial

import pytest
import torch
import toy_gan
import toy_language_model
from safetensors.torch import load_file
from toy_fits import fit_here, maker, saved, start, training

from components.engines.base.errors import StageError, UsageError
from components.engines.training import dump
from components.engines.training.dump import read_batches, read_dump
from components.engines.training.replay import replay

LM, GAN = "toy_language_model", "toy_gan"
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
    return folder


@pytest.mark.usefixtures("poisoned")
def test_the_batches_of_the_step_are_kept_and_replay_finds_the_same_figures(tmp_path):
    settings = training(accumulation_steps=2, checkpoint_every=2, ema_decay=0.9)
    with pytest.raises(StageError, match=r"lm_loss is nan; .*its batches are in .*dump-step-") as error:
        fit_here(LM, settings, tmp_path)
    folder = dumped(tmp_path)
    assert str(folder) in str(error.value)
    about = read_dump(folder)
    assert folder.name == f"dump-step-{about['step'] + 1:08d}"
    assert about["settings"] == settings.identity()
    assert about["figures"]["lm_loss"] == "nan"
    batches = read_batches(folder, 0)
    assert [len(batch["tokens"]) for batch in batches] == [8, 8]
    assert POISON in [int(batch["tokens"][0, 0]) for batch in batches]
    figures = replay(maker(LM), settings, folder)
    assert math.isnan(figures["lm_loss"])
    assert math.isnan(figures["lm_grad_norm"])
    assert figures["lm_accuracy"] == float(about["figures"]["lm_accuracy"])  # dropout drew what it drew


@pytest.mark.usefixtures("poisoned")
def test_the_weights_kept_are_those_the_loss_saw(tmp_path):
    """Healthy weights with the batch of the step, not what a NaN gradient made of them."""
    settings = training(checkpoint_every=100)
    with pytest.raises(StageError, match="there is no checkpoint yet"):
        fit_here(LM, settings, tmp_path / "stopped")
    folder = dumped(tmp_path / "stopped")
    step = read_dump(folder)["step"]
    assert step > 0
    kept = load_file(folder / "model.safetensors")
    with pytest.raises(KeyboardInterrupt):
        fit_here(LM, training(checkpoint_every=1), tmp_path / "until", stop_after=step)
    before = saved(tmp_path / "until", step, "module.model")
    assert all(torch.equal(kept[name], before[name]) for name in before)


def test_replay_of_a_second_turn_has_what_the_first_made(tmp_path, monkeypatch):
    plain, calls = toy_gan.ToyGan.fool, []

    def fool(self, batch):
        loss, sums = plain(self, batch)
        calls.append(loss.item())
        return (loss + math.inf if len(calls) == 6 else loss), sums

    monkeypatch.setattr(toy_gan.ToyGan, "fool", fool)
    settings = training()
    with pytest.raises(StageError, match="step 6, turn 'generator': generator_loss is inf"):
        fit_here(GAN, settings, tmp_path)
    figures = replay(maker(GAN), settings, dumped(tmp_path))
    assert figures["generator_loss"] == pytest.approx(calls[5] / 16, rel=1e-6)  # noise drawn again, and no inf now


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
def test_exploding_gradients_are_seen_after_the_move_so_replay_starts_from_the_checkpoint(every, base, tmp_path):
    settings = training(checkpoint_every=every)
    with pytest.raises(StageError, match="step 5, turn 'lm': grad_norm is nan"):
        fit_here(LM, settings, tmp_path)
    about = read_dump(dumped(tmp_path))
    assert (about["weights"], about["checkpoint"]) == ("checkpoint", base)
    figures = replay(maker(LM), settings, dumped(tmp_path))
    assert math.isnan(figures["lm_grad_norm"])
    assert math.isfinite(figures["lm_loss"])


def test_every_rank_keeps_its_own_share_though_one_alone_is_ill(tmp_path):
    settings = training(checkpoint_every=3, log_every=2)
    process = start("toy_faults", settings, tmp_path, processes=2, fault="nan", at=5, rank=1)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "step 5, turn 'lm': grad_norm is nan, lm_loss is nan" in errors
    folder = tmp_path / "dump-step-00000005"
    about = read_dump(folder)
    assert (about["world"], about["weights"], about["checkpoint"]) == (2, "checkpoint", "checkpoints/step-00000003")
    shares = [read_batches(folder, rank)[0]["tokens"] for rank in (0, 1)]
    assert [len(share) for share in shares] == [8, 8]
    assert not torch.equal(*shares)
    figures = replay(partial(maker("toy_faults"), fault="nan", at=2), settings, folder)
    assert math.isnan(figures["lm_loss"])
    healthy = replay(maker("toy_faults"), settings, folder)
    assert math.isfinite(healthy["lm_loss"])


@pytest.mark.usefixtures("poisoned")
def test_a_dump_that_fails_does_not_hide_why_the_run_stopped(tmp_path, monkeypatch):
    def full(path, tensors):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(dump, "write_tensors", full)
    with pytest.raises(StageError, match=r"lm_loss is nan.*could not be dumped \(The disk is full"):
        fit_here(LM, training(checkpoint_every=2), tmp_path)


@pytest.mark.usefixtures("poisoned")
def test_a_dump_is_replayed_under_its_own_settings_only(tmp_path):
    with pytest.raises(StageError):
        fit_here(LM, training(), tmp_path)
    with pytest.raises(UsageError, match="other settings"):
        replay(maker(LM), training(learning_rate=0.5), dumped(tmp_path))
    assert json.loads((dumped(tmp_path) / "dump.json").read_text())["weights"] == "before"
