"""A loss spike: the run goes back, skips the batches that led there, and a resumed run does the same."""

import logging
import os
import shutil

import numpy as np
import pytest
import toy_language_model
from test_training_resume import wait_for_checkpoint
from toy_fits import finish, fit_here, outcome, start, training

from components.engines.base.errors import StageError, Stopped, UsageError
from components.engines.base.seeds import derive
from components.engines.shards.order import SampleOrder
from components.engines.training import checkpoint
from components.engines.training.saving import finished_fit

LM, SPIKING = "toy_language_model", "toy_poison"
SPIKE = {"factor": 3.0, "window": 4, "max_rewinds": 3}
SETTINGS = {"max_steps": 24, "checkpoint_every": 5, "log_every": 4, "ema_decay": 0.9, "schedule": "constant"}
BATCHES = SampleOrder(50, 16, derive(0, "order"))


def state_of(work):
    root = work / "checkpoints"
    return checkpoint.read(root, checkpoint.saved_steps(root)[-1]).state["run"]


def data_seen(monkeypatch):
    """The steps' global batches in the order in which the loop's thread collates them."""
    seen = []
    plain = toy_language_model.ToyLanguageModel.batch
    monkeypatch.setattr(
        toy_language_model.ToyLanguageModel, "batch", lambda self, i, e: (seen.append(i), plain(self, i, e))[1]
    )
    return seen


def test_the_batches_from_the_last_checkpoint_to_the_spike_are_skipped(tmp_path, caplog, monkeypatch):
    seen = data_seen(monkeypatch)
    settings = training(**SETTINGS, spike=SPIKE)
    with caplog.at_level(logging.WARNING, logger="genworks"):
        fitted = fit_here(SPIKING, settings, tmp_path, poisoned=[12])
    assert "Rewind 1 of 3: loss spike in step 13, turn 'lm'" in caplog.text
    assert "back to" in caplog.text
    assert "step-00000010" in caplog.text
    state = state_of(tmp_path)
    assert (state["rewinds"], state["skipped_steps"]) == (1, 3)  # the batches of steps 10, 11 and 12, from 0
    assert [row["step"] for row in fitted.curve] == [4, 8, 12, 16, 20, 24]
    assert max(row["lm_loss"] for row in fitted.curve) < 20  # a poisoned one alone would add 25
    last = [BATCHES.step(step + 3) for step in range(10, 24)]
    assert np.array_equal(seen[-14:], last)


def test_without_a_spike_nothing_changes(tmp_path):
    plain = fit_here(LM, training(**SETTINGS), tmp_path / "plain")
    watched = fit_here(LM, training(**SETTINGS, spike=SPIKE), tmp_path / "watched")
    assert outcome(watched) == outcome(plain)


@pytest.mark.parametrize("stop", [11, 12, 13, 15, 18])
def test_stopped_and_resumed_around_a_spike_equals_uninterrupted(stop, tmp_path):
    """Stopped before the spike it saves a step that is not to be gone back to; stopped after, it has skipped already."""
    settings = training(**SETTINGS, spike=SPIKE, score_every=3, select="best")
    whole = fit_here(SPIKING, settings, tmp_path / "whole", poisoned=[12, 19])
    assert state_of(tmp_path / "whole")["rewinds"] == 2
    with pytest.raises(Stopped):
        fit_here(SPIKING, settings, tmp_path / "stopped", poisoned=[12, 19], stop_at_call=stop)
    assert outcome(fit_here(SPIKING, settings, tmp_path / "stopped", poisoned=[12, 19])) == outcome(whole)
    assert state_of(tmp_path / "stopped") == state_of(tmp_path / "whole")


def test_killed_around_a_spike_and_resumed_equals_uninterrupted(tmp_path):
    settings = training(**SETTINGS, spike=SPIKE)
    whole = fit_here(SPIKING, settings, tmp_path / "whole", poisoned=[7])
    process = start(SPIKING, settings, tmp_path / "killed", poisoned=[7], pause=0.1)
    wait_for_checkpoint(process, tmp_path / "killed")
    process.kill()
    process.communicate()
    assert outcome(fit_here(SPIKING, settings, tmp_path / "killed", poisoned=[7])) == outcome(whole)


def test_two_ranks_that_notice_late_go_back_as_one_does(tmp_path):
    """Ranks add their losses up every `log_every` steps only: three steps after the spike here, one of another place."""
    settings = training(**{**SETTINGS, "log_every": 8}, spike=SPIKE)
    process = start(SPIKING, settings, tmp_path / "two", processes=2, poisoned=[12], dropout=0.0)
    fit_here(SPIKING, settings, tmp_path / "one", poisoned=[12], dropout=0.0)
    finish(process)
    one, two = (state_of(tmp_path / name) for name in ("one", "two"))
    assert (two["rewinds"], two["skipped_steps"]) == (one["rewinds"], one["skipped_steps"]) == (1, 3)
    rows = zip(finished_fit(tmp_path / "two", settings).curve, one["curve"], strict=True)
    assert all(ours["lm_loss"] == pytest.approx(theirs["lm_loss"], rel=1e-5) for ours, theirs in rows)


def test_spikes_without_end_stop_the_run(tmp_path):
    settings = training(**SETTINGS, spike={**SPIKE, "max_rewinds": 2})
    with pytest.raises(StageError, match=r"loss spike in step 13.* all 2 rewinds were used up"):
        fit_here(SPIKING, settings, tmp_path, poisoned=[12, 15, 18])
    assert checkpoint.saved_steps(tmp_path / "checkpoints") == [5, 10]


def test_a_damaged_checkpoint_is_passed_over_on_the_way_back(tmp_path, caplog):
    settings = training(**SETTINGS, spike=SPIKE)
    with pytest.raises(Stopped):
        fit_here(SPIKING, settings, tmp_path, poisoned=[12], stop_at_call=12)
    (file,) = checkpoint.folder_of(tmp_path / "checkpoints", 10).glob("*.safetensors")
    os.truncate(file, 10)
    shutil.copytree(tmp_path, tmp_path / "copy")
    with caplog.at_level(logging.WARNING, logger="genworks"), pytest.raises(StageError, match="No sound checkpoint"):
        fit_here(SPIKING, settings, tmp_path, poisoned=[12])
    assert "step-00000010 is damaged" in caplog.text


def test_where_it_goes_back_to_is_part_of_what_is_learnt(tmp_path):
    fit_here(LM, training(max_steps=6, spike=SPIKE), tmp_path)
    with pytest.raises(UsageError, match="checkpoint_every"):
        fit_here(LM, training(max_steps=6, spike=SPIKE, checkpoint_every=2), tmp_path)
