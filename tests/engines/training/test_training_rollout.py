"""Tasks that learn from what they generate, and turns that move several times on the same batches."""

import random
import signal
import time
from functools import partial

import pytest
import torch
import toy_gan
import toy_rl
from test_training_resume import wait_for_checkpoint
from toy_fits import assert_close, finish, fit_here, outcome, saved, start, training

from components.engines.base.errors import UsageError
from components.engines.training.checkpoints.saved_run import finished_fit
from components.engines.training.loop import fit
from components.engines.training.parallel.ranks import Ranks

RL = "toy_rl"
CPU = torch.device("cpu")
SETTINGS = {"max_steps": 30, "accumulation_steps": 2, "ema_decay": 0.9, "score_every": 10, "select_metric": "reward"}


class Watched(toy_rl.ToyRl):
    """Writes down what happens, in order."""

    def __init__(self):
        super().__init__(True, 0.0)
        self.seen, self.batches = [], []

    def rollout(self, batch, step):
        modes = {self.policy.training, self.policy.memory.training, self.critic.training}
        self.seen.append(("rollout", step, modes, torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")))
        self.batches.append(super().rollout(batch, step))
        return self.batches[-1]

    def improve(self, batch):
        self.seen.append(("policy", next(n for n, made in enumerate(self.batches) if made is batch)))
        assert self.policy.training
        return super().improve(batch)

    def judge(self, batch):
        self.seen.append(("critic", next(n for n, made in enumerate(self.batches) if made is batch)))
        return super().judge(batch)


def test_rollouts_come_first_without_gradients_in_eval_mode_and_are_what_every_move_sees(tmp_path):
    task, settings = Watched(), training(max_steps=2, warmup_steps=0, accumulation_steps=2, precision="bf16")
    fit(lambda: task, settings, work=tmp_path, ranks=Ranks.single(CPU))
    expected = []
    for step in range(2):
        expected += [("rollout", step, {False}, False, True)] * 2
        expected += [(turn, 2 * step + n) for turn in ("policy", "critic") for _ in range(2) for n in range(2)]
    assert task.seen == expected


def test_weights_are_counted_in_what_the_rollout_returned(tmp_path):
    """Half of the answers are thrown away: the mean is over those that are left."""

    class Picky(toy_rl.ToyRl):
        def rollout(self, batch, step):
            rolled = super().rollout(batch, step)
            return {name: tensor[: len(tensor) // 2] for name, tensor in rolled.items()} | {"reward": torch.ones(8)}

    fitted = fit(lambda: Picky(True, 0.0), training(max_steps=4), work=tmp_path, ranks=Ranks.single(CPU))
    assert fitted.curve[0]["policy_reward"] == 1.0


def test_draws_of_a_rollout_depend_on_its_place_alone(tmp_path):
    """Not on how much the turns before it drew."""
    words = []
    for noisy in (False, True):

        class Drawing(toy_rl.ToyRl):
            draws = noisy

            def rollout(self, batch, step):
                rolled = super().rollout(batch, step)
                words[-1].append(rolled["words"])
                return rolled

            def judge(self, batch):
                if self.draws:
                    torch.rand(17)
                return super().judge(batch)

        words.append([])
        make_task = partial(Drawing, True, 0.0)
        fit(make_task, training(max_steps=5), work=tmp_path / str(noisy), ranks=Ranks.single(CPU))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*words, strict=True))
    assert not torch.equal(words[0][0], words[0][1])


def test_every_checkpoint_of_a_rollout_task_leads_to_the_same_end(tmp_path):
    settings = training(max_steps=8, ema_decay=0.9, log_every=3, checkpoint_every=1)
    whole = outcome(fit_here(RL, settings, tmp_path / "whole"))
    for stop in range(1, 8):
        with pytest.raises(KeyboardInterrupt):
            fit_here(RL, settings, tmp_path / str(stop), stop_after=stop)
        assert outcome(fit_here(RL, settings, tmp_path / str(stop))) == whole


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_killed_and_resumed_rollout_task_equals_the_uninterrupted_one(precision, tmp_path):
    settings = training(**SETTINGS, checkpoint_every=3, precision=precision)
    whole = fit_here(RL, settings, tmp_path / "whole")
    process = start(RL, settings, tmp_path / "killed", pause=0.02)
    wait_for_checkpoint(process, tmp_path / "killed")
    time.sleep(random.uniform(0, 0.8))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "final").exists()
    assert outcome(fit_here(RL, settings, tmp_path / "killed")) == outcome(whole)


def test_two_processes_train_a_rollout_task_as_one_does(tmp_path):
    settings = training(**SETTINGS)
    process = start(RL, settings, tmp_path / "two", processes=2, noise_on_device=False)
    one = fit_here(RL, settings, tmp_path / "one", noise_on_device=False)
    finish(process)
    assert_close(finished_fit(tmp_path / "two", settings), one)


# ---------------------------------------------------------------------------------------------------------- repeats


class Repeating(toy_gan.ToyGan):
    def __init__(self, repeats: int):
        super().__init__(True, True, 0.0)
        judge, fool = self.turns
        self.turns = [type(judge)(judge.name, judge.loss, judge.parameters, judge.weight, repeats=repeats), fool]
        self.seen = []

    def judge(self, batch):
        loss, sums = super().judge(batch)
        self.seen.append(("judge", loss.item() / len(batch["real"])))
        return loss, sums

    def fool(self, batch):
        self.seen.append(("fool", 0.0))
        return super().fool(batch)


def test_a_turn_moves_as_often_as_it_says_before_the_next_one(tmp_path):
    task = Repeating(3)
    fitted = fit(lambda: task, training(max_steps=4), work=tmp_path, ranks=Ranks.single(CPU))
    assert [name for name, _ in task.seen] == ["judge", "judge", "judge", "fool"] * 4
    losses = [loss for name, loss in task.seen if name == "judge"]
    assert fitted.curve[0]["discriminator_loss"] == pytest.approx(sum(losses) / len(losses))
    moves = saved(tmp_path, 4, "optimizer.discriminator")
    assert {float(value) for name, value in moves.items() if name.endswith(":step")} == {12.0}


def test_repeats_draw_anew(tmp_path):
    """At a rate of nothing the moves differ only by their noise."""
    task = Repeating(2)
    settings = training(max_steps=1, warmup_steps=0, learning_rate=1e-30)
    fit(lambda: task, settings, work=tmp_path, ranks=Ranks.single(CPU))
    (_, first), (_, second), _ = task.seen
    assert first != second


def test_one_move_is_what_a_turn_without_repeats_makes(tmp_path):
    once = fit(lambda: Repeating(1), training(), work=tmp_path / "once", ranks=Ranks.single(CPU))
    assert outcome(once) == outcome(fit_here("toy_gan", training(), tmp_path / "plain"))


def test_repeated_moves_resume_exactly(tmp_path):
    settings = training(max_steps=6, checkpoint_every=1, precision="fp16")

    def fit_repeating(work, **options):
        return fit(lambda: Repeating(3), settings, work=work, ranks=Ranks.single(CPU), **options)

    whole = outcome(fit_repeating(tmp_path / "whole"))
    for stop in (1, 3, 5):

        class Stops(Repeating):
            step = stop

            def fool(self, batch):
                if len([name for name, _ in self.seen if name == "fool"]) == self.step:
                    raise KeyboardInterrupt  # in the middle of the step after
                return super().fool(batch)

        work = tmp_path / str(stop)
        with pytest.raises(KeyboardInterrupt):
            fit(lambda kind=Stops: kind(3), settings, work=work, ranks=Ranks.single(CPU))
        assert outcome(fit_repeating(work)) == whole


def test_a_skipped_move_among_several_is_counted_and_has_no_norm(tmp_path, monkeypatch):
    class Overflows(Repeating):
        def judge(self, batch):
            loss, sums = super().judge(batch)
            if len(self.seen) == 2:  # the second of three moves
                loss.register_hook(lambda gradient: gradient * float("inf"))
            return loss, sums

    settings = training(max_steps=1, warmup_steps=0, learning_rate=1e-30, clip_norm=None, precision="fp16")
    row = fit(lambda: Overflows(3), settings, work=tmp_path, ranks=Ranks.single(CPU)).curve[0]
    assert row["discriminator_skipped_steps"] >= 1
    assert 0 < row["discriminator_grad_norm"] < float("inf")


def test_a_turn_that_never_moves_is_refused(tmp_path):
    with pytest.raises(UsageError, match="Turn 'discriminator' has repeats 0"):
        fit(lambda: Repeating(0), training(), work=tmp_path, ranks=Ranks.single(CPU))
