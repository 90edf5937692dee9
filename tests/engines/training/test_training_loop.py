"""The loop's promises about gradients, figures, scores and errors, on toy tasks."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import toy_gan
import toy_language_model
from safetensors.torch import load_file
from toy_fits import assert_close, fit_here, outcome, saved, training

from components.engines.base.errors import StageError, UsageError
from components.engines.base.seeds import derive, seed_everything
from components.engines.shards.order import SampleOrder
from components.engines.training.checkpoints.final import Fit
from components.engines.training.checkpoints.weights import load_module
from components.engines.training.loop import fit
from components.engines.training.parallel.ranks import Ranks

GOLDEN = Path(__file__).parent / "golden"
LM, GAN = "toy_language_model", "toy_gan"


class Listener:
    def __init__(self):
        self.heard = []

    def log(self, step, figures):
        self.heard.append((step, figures))

    def close(self):
        raise AssertionError("who made the observer closes it")


def test_an_example_task_takes_less_than_a_hundred_lines():
    for toy in (toy_language_model, toy_gan):
        assert len(Path(toy.__file__).read_text().splitlines()) < 100


@pytest.mark.parametrize(("toy", "free"), [(LM, {}), (GAN, {"batch_norm": False})])
def test_the_loss_curve_is_the_golden_one(toy, free, tmp_path):
    """A refactor of the engine proves itself here. Regenerate only for a change that is meant to alter training.

    No BatchNorm: it takes constant shifts away, so the gradient of a bias before it is rounding noise, of which Adam makes
    whole steps. Other CPUs round otherwise, and their curves would drift apart by per cents.
    """
    curve = fit_here(toy, training(ema_decay=0.9, score_every=8, accumulation_steps=2), tmp_path, **free).curve
    golden = json.loads((GOLDEN / f"{toy}.json").read_text())
    assert [row.keys() for row in curve] == [row.keys() for row in golden]
    for row, expected in zip(curve, golden, strict=True):
        assert row == pytest.approx(expected, rel=1e-5)


def test_the_curve_learns_and_has_its_columns(tmp_path):
    fitted = fit_here(LM, training(max_steps=60, score_every=20, log_every=10), tmp_path)
    assert [row["step"] for row in fitted.curve] == [10, 20, 30, 40, 50, 60]
    assert next(iter(fitted.curve[0])) == "step"
    assert {"lm_loss", "lm_accuracy", "learning_rate", "grad_norm"} < fitted.curve[0].keys()
    assert "accuracy" in fitted.curve[1]
    assert "accuracy" not in fitted.curve[0]
    assert fitted.curve[-1]["lm_loss"] < 0.5 * fitted.curve[0]["lm_loss"]
    assert fitted.scores == {name: fitted.curve[-1][name] for name in ("loss", "accuracy")}


def test_the_gradient_is_that_of_the_mean_over_the_global_batch(tmp_path):
    """One step by hand: the mean over all target tokens of the whole batch, whatever the padding."""
    settings = training(max_steps=1, warmup_steps=0, accumulation_steps=4, clip_norm=None)
    fitted = fit_here(LM, settings, tmp_path, dropout=0.0)
    seed_everything(settings.seed, "build")
    task = toy_language_model.make_task(dropout=0.0)
    batch = task.batch(SampleOrder(task.num_samples, 16, derive(settings.seed, "order")).step(0), 0)
    mean = task.loss(batch)[0] / task.weight(batch)
    mean.backward()
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in task.model.parameters()))
    assert fitted.curve[0]["lm_loss"] == pytest.approx(mean.item(), rel=1e-6)
    assert fitted.curve[0]["grad_norm"] == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize(
    ("toy", "free"), [(LM, {"dropout": 0.0}), (GAN, {"noise_on_device": False, "batch_norm": False})]
)
def test_accumulation_does_not_change_the_result(toy, free, tmp_path):
    """1 × 16 ≡ 4 × 4 ≡ 16 × 1, though micro-batches hold different numbers of tokens."""
    fits = [fit_here(toy, training(accumulation_steps=n), tmp_path / str(n), **free) for n in (1, 4, 16)]
    for other in fits[1:]:
        assert_close(other, fits[0])


def test_each_turn_trains_only_its_own_parameters(tmp_path):
    seen = []

    class Watched(toy_gan.ToyGan):
        def judge(self, batch):
            seen.append(("judge", *self.flags()))
            return super().judge(batch)

        def fool(self, batch):
            seen.append(("fool", *self.flags()))
            return super().fool(batch)

        def flags(self):
            return tuple(all(p.requires_grad for p in m.parameters()) for m in (self.generator, self.discriminator))

    fit(lambda: Watched(True, True, 0.0), training(max_steps=4), work=tmp_path, ranks=Ranks.single())
    assert set(seen) == {("judge", False, True), ("fool", True, False)}


def test_parameters_of_no_turn_stay_as_they_were(tmp_path):
    class HalfFrozen(toy_language_model.ToyLanguageModel):
        def __init__(self):
            super().__init__(16, 0.0, 50, 0.0)
            self.turns = [type(self.turns[0])("lm", self.loss, list(self.model.layers[1].parameters()), self.weight)]

    fitted = fit(HalfFrozen, training(max_steps=4), work=tmp_path, ranks=Ranks.single(torch.device("cpu")))
    seed_everything(0, "build")
    before, after = HalfFrozen().model.state_dict(), load_file(fitted.weights / "model.safetensors")
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed
    assert all(name.startswith("layers.1.") for name in changed)


def test_a_finished_fit_is_returned_and_not_trained_again(tmp_path):
    first = fit_here(LM, training(max_steps=6), tmp_path)

    def never():
        raise AssertionError("built a task although the fit was finished")

    again = fit(never, training(max_steps=6), work=tmp_path, ranks=Ranks.single())
    assert outcome(again) == outcome(first)


def test_damaged_final_weights_are_written_again_from_the_checkpoint(tmp_path):
    first = fit_here(LM, training(max_steps=6), tmp_path)
    expected = outcome(first)
    (first.weights / "model.safetensors").write_bytes(b"rubbish")
    assert outcome(fit_here(LM, training(max_steps=6), tmp_path)) == expected


def test_work_of_other_settings_is_refused(tmp_path):
    fit_here(LM, training(max_steps=6), tmp_path)
    with pytest.raises(UsageError, match=r"learning_rate: 0\.01 → 0\.5"):
        fit_here(LM, training(max_steps=6, learning_rate=0.5), tmp_path)


def test_a_batch_that_cannot_be_split_is_refused_with_the_numbers(tmp_path):
    with pytest.raises(UsageError, match=r"batch_size 16 .* accumulation_steps 3 × 1 workers") as error:
        fit_here(LM, training(accumulation_steps=3), tmp_path)
    assert error.value.exit_code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("toy", "kind", "method", "turn"),
    [(LM, toy_language_model.ToyLanguageModel, "loss", "lm"), (GAN, toy_gan.ToyGan, "fool", "generator")],
)
def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_and_turn(
    toy, kind, method, turn, tmp_path, monkeypatch
):
    plain, calls = getattr(kind, method), []

    def breaks(self, batch):
        loss, sums = plain(self, batch)
        calls.append(1)
        return (loss * float("nan") if len(calls) == 8 else loss), sums

    monkeypatch.setattr(kind, method, breaks)
    with pytest.raises(StageError, match=rf"step 8, turn '{turn}': .*nan.*last checkpoint is of step 5"):
        fit_here(toy, training(checkpoint_every=5), tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000005"]
    assert not (tmp_path / "final").exists()


def test_gradients_that_explode_are_caught_though_the_loss_is_finite(tmp_path, monkeypatch):
    plain = toy_language_model.ToyLanguageModel.loss

    def steep(self, batch):
        loss, sums = plain(self, batch)
        zero = (self.model.positions * 0).sum()
        return loss + torch.sqrt(zero) * 0, sums  # d sqrt(x)/dx at 0 is infinite, times 0 is NaN

    monkeypatch.setattr(toy_language_model.ToyLanguageModel, "loss", steep)
    with pytest.raises(StageError, match="step 1, turn 'lm': grad_norm is nan"):
        fit_here(LM, training(), tmp_path)


def test_a_batch_without_targets_is_an_error_not_a_division_by_zero(tmp_path, monkeypatch):
    monkeypatch.setattr(toy_language_model.ToyLanguageModel, "weight", lambda self, batch: 0)
    with pytest.raises(StageError, match="nothing to learn from"):
        fit_here(LM, training(), tmp_path)


def test_an_error_in_collating_surfaces_as_it_is(tmp_path, monkeypatch):
    def broken(self, indices, epoch):
        raise StageError("Shard train-000003.tar is truncated")

    monkeypatch.setattr(toy_language_model.ToyLanguageModel, "batch", broken)
    with pytest.raises(StageError, match="truncated"):
        fit_here(LM, training(), tmp_path)


def test_clipping_limits_the_step_but_reports_the_norm_before_it(tmp_path):
    free = fit_here(LM, training(max_steps=1, warmup_steps=0, clip_norm=None), tmp_path / "free", dropout=0.0)
    clipped = fit_here(LM, training(max_steps=1, warmup_steps=0, clip_norm=1e-9), tmp_path / "clipped", dropout=0.0)
    assert free.curve[0]["grad_norm"] == clipped.curve[0]["grad_norm"] > 1

    def moved(fitted: Fit) -> float:
        initial = fit_here(
            LM, training(max_steps=1, warmup_steps=0, learning_rate=1e-12), tmp_path / "still", dropout=0.0
        )
        before, after = (load_file(f.weights / "model.safetensors") for f in (initial, fitted))
        return max(float((after[name] - before[name]).abs().max()) for name in before)

    assert moved(clipped) < 0.2 * moved(free)  # Adam's ε = 1e-8 now outweighs gradients of 1e-9


def test_early_stop_and_best_weights(tmp_path, monkeypatch):
    falling_then_rising = iter([5.0, 3.0, 4.0, 4.5, 6.0, 1.0])
    monkeypatch.setattr(toy_language_model.ToyLanguageModel, "score", lambda self: {"loss": next(falling_then_rising)})
    settings = training(max_steps=60, score_every=5, patience=3, checkpoint_every=4)
    fitted = fit_here(LM, settings, tmp_path)
    assert fitted.curve[-1]["step"] == 25
    assert fitted.step == 10
    assert fitted.scores == {"loss": 3.0}
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000010", "step-00000024", "step-00000025"]  # the best and the newest two
    best, last = (saved(tmp_path, int(name.removeprefix("step-")), "module.model") for name in (names[0], names[-1]))
    chosen = load_file(fitted.weights / "model.safetensors")
    assert all(torch.equal(chosen[name], best[name]) for name in chosen)
    assert not all(torch.equal(chosen[name], last[name]) for name in chosen)


def test_an_overfitting_run_ships_its_best_weights(tmp_path, monkeypatch):
    """Eight samples learnt by heart, scored on others: by default the weights from before that are the result."""
    task = toy_language_model.make_task()
    others = task.batch(np.arange(1000, 1064), epoch=0)

    def loss_on_others(task):
        with torch.no_grad():
            return {"loss": float(task.loss(others)[0]) / task.weight(others)}

    monkeypatch.setattr(toy_language_model.ToyLanguageModel, "score", loss_on_others)
    settings = training(max_steps=120, score_every=20, batch_size=8)
    fitted = fit_here(LM, settings, tmp_path / "best", num_samples=8)
    scores = {row["step"]: row["loss"] for row in fitted.curve if "loss" in row}
    assert fitted.step == min(scores, key=scores.get) < 120
    assert scores[120] > 1.1 * scores[fitted.step]
    load_module(task.model, fitted.weights / "model.safetensors")
    task.model.eval()
    assert loss_on_others(task)["loss"] == pytest.approx(scores[fitted.step], rel=1e-5)
    last = fit_here(LM, settings.model_copy(update={"select": "last"}), tmp_path / "last", num_samples=8)
    assert last.step == 120


def test_scores_to_be_maximised(tmp_path, monkeypatch):
    rising = iter([0.1, 0.3, 0.2])
    monkeypatch.setattr(toy_language_model.ToyLanguageModel, "score", lambda self: {"bleu": next(rising)})
    settings = training(max_steps=6, score_every=2, select_metric="bleu", select_mode="max")
    assert fit_here(LM, settings, tmp_path).step == 4


@pytest.mark.parametrize(
    ("scores", "kind", "words"),
    [
        ({"loss": math.nan}, StageError, "not finite"),
        ({"bleu": 1.0}, UsageError, "select_metric 'loss'"),
        ({"loss": 1.0, "grad_norm": 2.0}, UsageError, "share names"),
    ],
)
def test_useless_scores_are_refused(scores, kind, words, tmp_path, monkeypatch):
    monkeypatch.setattr(toy_language_model.ToyLanguageModel, "score", lambda self: scores)
    with pytest.raises(kind, match=words):
        fit_here(LM, training(score_every=2), tmp_path)


def test_scoring_leaves_the_training_as_it_was(tmp_path):
    """The same weights whether one scores often or never: no draw, mode or average leaks into the training."""
    often = fit_here(LM, training(score_every=1, ema_decay=0.9), tmp_path / "often")
    never = fit_here(LM, training(ema_decay=0.9), tmp_path / "never")
    ours, theirs = (load_file(f.weights / "model.safetensors") for f in (often, never))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_scoring_sees_the_averaged_weights_in_eval_mode_without_gradients(tmp_path, monkeypatch):
    seen = []

    def score(self):
        seen.append((self.model.training, torch.is_grad_enabled(), self.model.embed.weight.clone()))
        return {"loss": 1.0}

    monkeypatch.setattr(toy_language_model.ToyLanguageModel, "score", score)
    fitted = fit_here(LM, training(max_steps=6, score_every=6, ema_decay=0.5), tmp_path)
    (mode, grad, weight), averaged = seen[0], load_file(fitted.weights / "model.safetensors")
    assert (mode, grad) == (False, False)
    assert torch.equal(weight, averaged["embed.weight"])
    live = saved(tmp_path, 6, "module.model")
    assert not torch.equal(live["embed.weight"], averaged["embed.weight"])


def test_final_weights_load_into_a_fresh_model_with_its_ties(tmp_path):
    fitted = fit_here(LM, training(max_steps=4), tmp_path)
    task = toy_language_model.make_task()
    load_module(task.model, fitted.weights / "model.safetensors")
    assert task.model.head.weight is task.model.embed.weight
    saved = load_file(fitted.weights / "model.safetensors")
    assert torch.equal(task.model.embed.weight, saved["embed.weight"])
    assert "head.weight" not in saved
    with pytest.raises(StageError, match="do not fit Gpt"):
        load_module(toy_language_model.make_task(width=8).model, fitted.weights / "model.safetensors")


def test_the_observer_hears_figures_and_times_but_the_curve_holds_no_times(tmp_path):
    listener = Listener()
    fitted = fit_here(LM, training(score_every=8), tmp_path, observer=listener)
    assert [step for step, _ in listener.heard] == [row["step"] for row in fitted.curve]
    figures = listener.heard[1][1]
    assert {
        "lm_loss",
        "loss",
        "samples_per_second",
        "seconds_data",
        "seconds_forward",
        "seconds_backward",
        "seconds_optimizer",
    } < figures.keys()
    assert not [name for row in fitted.curve for name in row if "second" in name]


def test_bf16_trains_and_differs_from_fp32(tmp_path):
    half = fit_here(LM, training(max_steps=60, precision="bf16"), tmp_path / "bf16", dropout=0.0)
    full = fit_here(LM, training(max_steps=60), tmp_path / "fp32", dropout=0.0)
    assert half.curve != full.curve
    assert half.curve[-1]["lm_loss"] == pytest.approx(full.curve[-1]["lm_loss"], rel=0.2)
    assert all(t.dtype == torch.float32 for t in load_file(half.weights / "model.safetensors").values())


def test_numeric_settings_are_put_back(tmp_path):
    threads = torch.get_num_threads()
    fit_here(LM, training(max_steps=4, num_threads=1), tmp_path)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_every_sample_is_seen_once_an_epoch(tmp_path, monkeypatch):
    seen = []
    plain = toy_language_model.ToyLanguageModel.batch
    monkeypatch.setattr(
        toy_language_model.ToyLanguageModel, "batch", lambda self, i, e: (seen.append(i), plain(self, i, e))[1]
    )
    fit_here(LM, training(max_steps=25, accumulation_steps=2), tmp_path)  # 25 · 16 = 8 epochs of 50
    counts = np.bincount(np.concatenate(seen)[: 25 * 16], minlength=50)
    assert counts.tolist() == [8] * 50


def test_tasks_that_could_not_be_trained_or_saved_are_refused(tmp_path):
    class Lost(toy_language_model.ToyLanguageModel):
        def __init__(self):
            super().__init__(16, 0.0, 50, 0.0)
            self.modules = {}

    class Empty(toy_language_model.ToyLanguageModel):
        def __init__(self):
            super().__init__(16, 0.0, 0, 0.0)

    for kind, words in ((Lost, "in no module of the task"), (Empty, "split is empty")):
        with pytest.raises(UsageError, match=words):
            fit(kind, training(), work=tmp_path, ranks=Ranks.single())
