"""A run that is told to stop saves its step, says so, and goes on from there as if it had never stopped."""

import json
import os
import random
import signal
import threading

import pytest
from pydantic import ValidationError
from test_training_resume import wait_for_checkpoint
from toy_fits import finish, fit_here, outcome, start, training

from components.engines.base.errors import StageError, Stopped
from components.engines.training.checkpoints import store
from components.engines.training.checkpoints.saved_run import finished_fit

LM = "toy_faults"
SETTINGS = {"max_steps": 20, "ema_decay": 0.9, "score_every": 5, "checkpoint_every": 6, "log_every": 4}


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_saves_the_step_and_the_next_run_goes_on_bit_for_bit(name, tmp_path):
    settings = training(**SETTINGS)
    whole = fit_here(LM, settings, tmp_path / "whole")
    handlers = [signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)]
    step = random.randint(1, 19)
    with pytest.raises(Stopped, match=f"stopped after step {step}, as it was told to") as error:
        fit_here(LM, settings, tmp_path / "stopped", fault=name, at=step)
    assert error.value.exit_code == 130
    assert store.saved_steps(tmp_path / "stopped" / "checkpoints")[-1] == step
    assert [signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert outcome(fit_here(LM, settings, tmp_path / "stopped")) == outcome(whole)


def test_a_signal_in_the_last_step_lets_the_run_end_as_it_was_about_to(tmp_path):
    settings = training(**SETTINGS)
    whole = fit_here(LM, settings, tmp_path / "whole")
    assert outcome(fit_here(LM, settings, tmp_path / "told", fault="SIGTERM", at=20)) == outcome(whole)


def test_a_second_signal_ends_the_run_at_once(tmp_path):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with SIGINT ignored
    settings = training(**SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        fit_here(LM, settings, tmp_path, fault="both signals", at=8)
    assert store.saved_steps(tmp_path / "checkpoints") == [5, 6]  # the best that was scored, and the last
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_file_in_the_work_folder_stops_the_run_too_and_is_obeyed_once(tmp_path):
    settings = training(**SETTINGS)
    (tmp_path / "stop").touch()
    with pytest.raises(Stopped, match="as it was told to"):
        fit_here(LM, settings, tmp_path)
    assert not (tmp_path / "stop").exists()
    assert fit_here(LM, settings, tmp_path).curve[-1]["step"] == 20


def test_a_fit_in_a_thread_trains_and_leaves_signals_alone(tmp_path):
    fits = []
    thread = threading.Thread(target=lambda: fits.append(fit_here(LM, training(max_steps=4), tmp_path)))
    before = signal.getsignal(signal.SIGTERM)
    thread.start()
    thread.join(60)
    assert fits[0].curve[-1]["step"] == 4
    assert signal.getsignal(signal.SIGTERM) is before


def test_ranks_stop_at_the_same_step_though_only_one_was_told(tmp_path):
    settings = training(**SETTINGS)
    finish(start(LM, settings, tmp_path / "whole", processes=2))
    process = start(LM, settings, tmp_path / "stopped", processes=2, fault="SIGTERM", at=8, rank=1)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert errors.count("Stopped: Training stopped after step 9, as it was told to") == 2, errors
    assert store.saved_steps(tmp_path / "stopped" / "checkpoints")[-1] == 9
    finish(start(LM, settings, tmp_path / "stopped", processes=2))
    ends = [outcome(finished_fit(tmp_path / name, settings)) for name in ("whole", "stopped")]
    assert ends[0] == ends[1]


def test_torchrun_told_to_end_ends_after_a_save(tmp_path):
    """It tells every worker, and after Ctrl-C in a terminal each hears it twice."""
    settings = training(**{**SETTINGS, "max_steps": 2000, "score_every": 1000, "checkpoint_every": 3})
    process = start(LM, settings, tmp_path, processes=2, pause=0.02)
    wait_for_checkpoint(process, tmp_path)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert errors.count("Stopped: Training stopped after step") == 2, errors
    saved = store.saved_steps(tmp_path / "checkpoints")[-1]
    assert f"stopped after step {saved}," in errors


# --------------------------------------------------------------------------------------------------------- budget


def test_a_spent_budget_saves_and_stops_and_counts_over_attempts(tmp_path):
    small = training(**SETTINGS, budget={"max_hours": 1.0})
    (tmp_path / "spent.json").write_text(json.dumps({"seconds": 3599.9}))
    with pytest.raises(Stopped, match=r"after step \d+, which is saved: its budget is spent \(1 hours\)") as error:
        fit_here(LM, small, tmp_path, pause=0.05)
    assert error.value.exit_code == 130
    saved = store.saved_steps(tmp_path / "checkpoints")[-1]
    assert f"after step {saved}," in str(error.value)
    spent = json.loads((tmp_path / "spent.json").read_text())["seconds"]
    assert 3600 <= spent < 3700
    with pytest.raises(Stopped, match="was not started: its budget is spent"):
        fit_here(LM, small, tmp_path)
    assert store.saved_steps(tmp_path / "checkpoints")[-1] == saved
    more = training(**SETTINGS, budget={"max_hours": 2.0})
    assert outcome(fit_here(LM, more, tmp_path)) == outcome(fit_here(LM, training(**SETTINGS), tmp_path / "whole"))


def test_a_budget_in_money_is_one_in_hours(tmp_path):
    settings = training(budget={"max_hours": 9, "max_cost": 30, "price_per_hour": 10})
    assert settings.budget.hours == 3
    (tmp_path / "spent.json").write_text(json.dumps({"seconds": 3 * 3600}))
    with pytest.raises(Stopped, match=r"9 hours or 30 at 10 an hour"):
        fit_here(LM, settings, tmp_path)


@pytest.mark.parametrize("wrong", [{}, {"max_cost": 5}, {"max_hours": 1, "price_per_hour": 2}])
def test_a_budget_that_limits_nothing_is_refused(wrong):
    with pytest.raises(ValidationError, match=r"max_hours|price_per_hour"):
        training(budget=wrong)


def test_an_account_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "spent.json").write_text("{")
    with pytest.raises(StageError, match="account of the time spent cannot be read"):
        fit_here(LM, training(budget={"max_hours": 1}), tmp_path)
