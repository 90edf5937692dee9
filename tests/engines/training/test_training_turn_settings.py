"""A turn has its own rate, betas, decay and first step."""

import pytest
import torch
from toy_fits import fit_here, outcome, saved, training

from components.engines.base.errors import UsageError
from components.engines.training.schedule import learning_rate

LM, GAN = "toy_language_model", "toy_gan"
OWN = {"learning_rate": 0.003, "adam_betas": (0.5, 0.9), "weight_decay": 0.1}
START = 8


def two_rates(**changes):
    turns = {"discriminator": {**OWN, "start_step": START}, "generator": {"learning_rate": 0.02}}
    return training(turns=turns, checkpoint_every=1, keep_checkpoints=30, **changes)


@pytest.mark.parametrize("stop", [START - 3, START, START + 2])
def test_two_rates_and_a_delayed_turn_resume_bitwise(stop, tmp_path):
    settings = two_rates(ema_decay=0.9, score_every=5, select="best")
    whole = fit_here(GAN, settings, tmp_path / "whole", fooling_from=START)
    with pytest.raises(KeyboardInterrupt):
        fit_here(GAN, settings, tmp_path / "stopped", stop_after=stop, fooling_from=START)
    assert outcome(fit_here(GAN, settings, tmp_path / "stopped", fooling_from=START)) == outcome(whole)


def test_a_delayed_turn_moves_from_its_first_step_on_and_warms_up_there(tmp_path):
    settings = two_rates(schedule="constant")
    curve = fit_here(GAN, settings, tmp_path, fooling_from=START).curve
    before, at, after = (saved(tmp_path, step, "module.discriminator") for step in (START - 1, START, START + 1))
    # its running statistics do move: the generator's turn looks through it
    parameters = [name for name in before if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(before[name], at[name]) for name in parameters)
    assert not all(torch.equal(at[name], after[name]) for name in parameters)
    assert [("discriminator_loss" in row, "discriminator_learning_rate" in row) for row in curve[:3]] == [
        (False, False),
        (False, False),
        (True, True),
    ]
    assert ["generator_radius" in row for row in curve[:3]] == [True, True, False]  # Task.step
    rows = {row["step"]: row for row in curve}
    assert rows[12]["discriminator_learning_rate"] == 0.003
    assert rows[12]["generator_learning_rate"] == 0.02
    assert rows[12]["learning_rate"] == 0.01
    own = settings.of_turn("discriminator")
    assert [learning_rate(own, START + n, START) for n in range(4)] == pytest.approx([0.001, 0.002, 0.003, 0.003])


def test_settings_of_the_only_turn_are_those_of_the_run(tmp_path):
    """What is said of the turn overrides what is said of the run, and nothing else changes."""
    of_turn = fit_here(LM, training(turns={"lm": OWN}), tmp_path / "turn")
    of_run = fit_here(LM, training(**OWN), tmp_path / "run")
    plain = fit_here(LM, training(), tmp_path / "plain")
    assert [row["lm_loss"] for row in of_turn.curve] == [row["lm_loss"] for row in of_run.curve]
    assert outcome(of_turn)[-1] == outcome(of_run)[-1] != outcome(plain)[-1]


@pytest.mark.parametrize(
    ("turns", "words"),
    [
        ({"critic": {}}, "names critic, but the turns are discriminator, generator"),
        ({"discriminator": {"start_step": 24}}, "never move: discriminator"),
    ],
)
def test_a_turn_that_is_not_there_or_never_moves_is_refused(turns, words, tmp_path):
    with pytest.raises((UsageError, ValueError), match=words):
        fit_here(GAN, training(turns=turns), tmp_path)
