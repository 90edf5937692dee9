"""Two ranks killed with `kill -9` again and again: every kind of task ends in the bits of an uninterrupted run."""

import os
import random
import signal
import time

import pytest
from toy_fits import outcome, run, start_list, training

from components.engines.training.checkpoints import store
from components.engines.training.checkpoints.saved_run import finished_fit

SETTINGS = {"max_steps": 30, "accumulation_steps": 2, "ema_decay": 0.9, "score_every": 10}
SAVES = {"checkpoint_every": 3, "keep_checkpoints": 99}
KINDS = {
    "one turn": ("toy_language_model", {}, {}),
    "two turns": ("toy_gan", {}, {"precision": "bf16"}),  # BatchNorm's buffers and noise differ by rank
    "rollout": ("toy_rl", {}, {"select_metric": "reward"}),
    "sharded": ("toy_networks", {"family": "decoder"}, {"layout": {"sharded": 2}, "precision": "bf16"}),
}


def fits(folder, **changes):
    return [
        (
            toy,
            arguments | changes if toy != "toy_networks" else arguments,
            training(**SETTINGS, **SAVES, **special),
            folder / kind,
        )
        for kind, (toy, arguments, special) in KINDS.items()
    ]


def num_saved(folder):
    return sum(len(store.saved_steps(folder / kind / "checkpoints")) for kind in KINDS)


@pytest.mark.slow
def test_ranks_killed_at_random_moments_change_nothing_in_the_result(tmp_path):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(2, fits(whole), whole)
    saves = num_saved(whole)
    for moment in sorted(random.sample(range(1, saves - 1), 3)):
        process = start_list(2, fits(killed, pause=0.02), killed)
        deadline = time.monotonic() + 100
        while num_saved(killed) < moment:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.2))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    run(2, fits(killed), killed)
    for kind, (_, _, special) in KINDS.items():
        settings = training(**SETTINGS, **SAVES, **special)
        ends = [outcome(finished_fit(folder / kind, settings)) for folder in (whole, killed)]
        assert ends[0] == ends[1], kind
