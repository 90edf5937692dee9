"""fp16: overflows skip a step, on all ranks, are counted, and are told from losses that are not finite."""

import functools
import json
import logging
import math
import random
import signal
import time

import pytest
import torch
import toy_language_model
from safetensors.torch import load_file
from test_training_resume import wait_for_checkpoint
from toy_fits import finish, fit_here, outcome, saved, start, training

from components.engines.base.errors import StageError, UsageError
from components.engines.training.checkpoints.saved_run import finished_fit
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.precision import check_precision
from components.engines.training.scaling import Scaler

LM, GAN = "toy_language_model", "toy_gan"
CPU = torch.device("cpu")
OPTIMIZERS = ["fused", "foreach", "plain"]


@pytest.fixture
def overflowing(monkeypatch):
    """Gradients, not losses, that are infinite at the calls of the loss numbered here (from 1)."""
    plain, calls, at = toy_language_model.ToyLanguageModel.loss, [], []

    def loss(self, batch):
        total, sums = plain(self, batch)
        calls.append(1)
        if torch.is_grad_enabled() and len(calls) in at:
            total.register_hook(lambda gradient: gradient * math.inf)
        return total, sums

    monkeypatch.setattr(toy_language_model.ToyLanguageModel, "loss", loss)
    return at


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_overflow_skips_the_step_halves_the_scale_and_is_counted(optimizer, overflowing, tmp_path):
    overflowing += [3, 4, 7]
    settings = training(max_steps=8, precision="fp16", optimizer=optimizer, checkpoint_every=1)
    fitted = fit_here(LM, settings, tmp_path)
    first, last = fitted.curve
    assert (first["skipped_steps"], last["skipped_steps"]) == (2, 1)
    assert (first["loss_scale"], last["loss_scale"]) == (2.0**14, 2.0**13)
    assert math.isfinite(first["grad_norm"])
    steps = saved(tmp_path, 8, "optimizer.lm")
    assert {float(value) for name, value in steps.items() if name.endswith(":step")} == {8 - 3}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_skipped_step_moves_nothing(optimizer, overflowing, tmp_path):
    overflowing += [5]
    settings = training(max_steps=5, precision="fp16", optimizer=optimizer, checkpoint_every=1, log_every=1)
    fitted = fit_here(LM, settings, tmp_path)
    before, after = (saved(tmp_path, step, "module.model") for step in (4, 5))
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert "grad_norm" in fitted.curve[3]
    assert "grad_norm" not in fitted.curve[4]  # no move, no norm: never an infinite mean


def test_the_norm_of_a_skipped_step_is_no_part_of_the_mean(overflowing, tmp_path):
    settings = training(max_steps=4, precision="fp16", warmup_steps=0, learning_rate=1e-12, clip_norm=None)
    whole = fit_here(LM, settings, tmp_path / "whole", dropout=0.0).curve[0]["grad_norm"]
    overflowing += [6]  # the second step of this run, whose other steps hardly differ: the rate is next to nothing
    part = fit_here(LM, settings, tmp_path / "part", dropout=0.0).curve[0]
    assert part["skipped_steps"] == 1
    assert part["grad_norm"] == pytest.approx(whole, rel=0.1)


def test_a_loss_that_is_not_finite_stops_the_run_under_fp16_too(tmp_path, monkeypatch):
    plain, calls = toy_language_model.ToyLanguageModel.loss, []

    def breaks(self, batch):
        calls.append(1)
        loss, sums = plain(self, batch)
        return (loss * math.nan if len(calls) == 6 else loss), sums

    monkeypatch.setattr(toy_language_model.ToyLanguageModel, "loss", breaks)
    with pytest.raises(StageError, match="step 6, turn 'lm': lm_loss is nan"):
        fit_here(LM, training(precision="fp16"), tmp_path)


def test_gradients_that_overflow_at_every_scale_stop_the_run(overflowing, tmp_path):
    overflowing += range(1, 100)
    with pytest.raises(StageError, match="overflows in fp16 whatever the loss scale"):
        fit_here(LM, training(max_steps=60, precision="fp16"), tmp_path)


def test_fp16_trains_like_fp32(tmp_path):
    half = fit_here(LM, training(max_steps=60, precision="fp16"), tmp_path / "fp16", dropout=0.0)
    full = fit_here(LM, training(max_steps=60), tmp_path / "fp32", dropout=0.0)
    assert half.curve[-1]["lm_loss"] == pytest.approx(full.curve[-1]["lm_loss"], rel=0.1)
    assert {"skipped_steps", "loss_scale"} == half.curve[0].keys() - full.curve[0].keys()
    assert all(tensor.dtype == torch.float32 for tensor in load_file(half.weights / "model.safetensors").values())


@pytest.mark.parametrize("toy", [LM, GAN])
def test_every_checkpoint_holds_the_scalers(toy, tmp_path, monkeypatch):
    """Scales that rise every third step until they overflow: a resumed run falls out of step at once if one is lost."""
    restless = functools.partial(torch.amp.GradScaler, init_scale=2.0**18, growth_interval=3)
    monkeypatch.setattr(torch.amp, "GradScaler", restless)
    settings = training(max_steps=10, precision="fp16", log_every=4, checkpoint_every=1, ema_decay=0.9)
    whole = fit_here(toy, settings, tmp_path / "whole")
    assert sum(value for row in whole.curve for name, value in row.items() if name.endswith("skipped_steps")) >= 2
    for stop in range(1, 10):
        with pytest.raises(KeyboardInterrupt):
            fit_here(toy, settings, tmp_path / str(stop), stop_after=stop)
        assert outcome(fit_here(toy, settings, tmp_path / str(stop))) == outcome(whole)


def test_each_turn_has_a_scaler_of_its_own_in_the_state(tmp_path):
    fit_here(GAN, training(max_steps=4, precision="fp16"), tmp_path)
    state = json.loads((tmp_path / "checkpoints" / "step-00000004" / "state.json").read_text())["state"]["run"]
    assert state["scalers"].keys() == {"discriminator", "generator"}
    assert state["scalers"]["generator"].keys() >= {"scale", "_growth_tracker"}


@pytest.mark.parametrize("toy", [LM, GAN])
def test_killed_and_resumed_under_fp16_equals_uninterrupted(toy, tmp_path):
    settings = training(
        max_steps=40, accumulation_steps=2, ema_decay=0.9, score_every=10, checkpoint_every=3, precision="fp16"
    )
    whole = fit_here(toy, settings, tmp_path / "whole")
    process = start(toy, settings, tmp_path / "killed", pause=0.02)
    wait_for_checkpoint(process, tmp_path / "killed")
    time.sleep(random.uniform(0, 1.0))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "final").exists()
    assert outcome(fit_here(toy, settings, tmp_path / "killed")) == outcome(whole)


class OtherOverflows(Ranks):
    """Rank 0 of two, of which the other found an infinite gradient."""

    def sum(self, tensor):
        return tensor.add_(1.0)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("own", [1.0, math.inf])
def test_a_rank_skips_because_another_overflowed(fused, own):
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter], fused=fused)
    scaler = Scaler("lm", CPU)
    scaler.scale((own * parameter).sum()).backward()
    assert scaler.unscale(optimizer, OtherOverflows(0, 2, CPU)) == 1
    scaler.step(optimizer)
    assert torch.equal(parameter, torch.ones(3))
    assert scaler.size() == 2.0**15


def test_two_processes_skip_together_and_count_each_skip_once(tmp_path):
    settings = training(precision="fp16", accumulation_steps=2)
    free = {"noise_on_device": False, "batch_norm": False}
    process = start(GAN, settings, tmp_path / "two", processes=2, **free)
    one = fit_here(GAN, settings, tmp_path / "one", **free)
    finish(process)
    two = finished_fit(tmp_path / "two", settings)
    skips = [[row["generator_skipped_steps"] for row in fitted.curve] for fitted in (one, two)]
    assert skips[0] == skips[1]
    assert sum(skips[0]) > 0
    for row, other in zip(two.curve, one.curve, strict=True):
        assert row["generator_loss"] == pytest.approx(other["generator_loss"], rel=0.01)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_kinds_of_optimizer_are_the_same_rule(optimizer, tmp_path):
    fitted = fit_here(LM, training(optimizer=optimizer), tmp_path / optimizer, dropout=0.0)
    fused = fit_here(LM, training(), tmp_path / "expected", dropout=0.0)
    assert fitted.curve[-1]["lm_loss"] == pytest.approx(fused.curve[-1]["lm_loss"], rel=1e-4)


def test_bf16_without_instructions_is_allowed_but_said_to_be_slow(monkeypatch, caplog):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    with caplog.at_level(logging.WARNING, logger="genworks"):
        check_precision(training(precision="fp32"), CPU)
        assert not caplog.text
        check_precision(training(precision="bf16"), CPU)
    assert "precision bf16 is slow here" in caplog.text


def test_bf16_is_not_called_slow_where_the_cpu_has_it(monkeypatch, caplog):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    check_precision(training(precision="bf16"), CPU)
    assert not caplog.text


def test_bf16_on_a_gpu_without_it_is_refused_before_the_task_is_built(tmp_path, monkeypatch):
    from components.engines.training.loop import fit

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    ranks = Ranks.single(torch.device("cuda", 0))

    def never():
        raise AssertionError("built a task for a GPU that cannot train it")

    with pytest.raises(UsageError, match="Tesla T4 cannot compute"):
        fit(never, training(precision="bf16"), work=tmp_path, ranks=ranks)
