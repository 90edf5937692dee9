"""Batches made by loader processes: the same ones, in the same order, and no process stays behind."""

import os
import signal
import time

import psutil
import pytest
import torch
from toy_fits import fit_here, maker, outcome, start, training

from components.engines.base.errors import StageError, Transient, UsageError
from components.engines.training.batches import StepStream
from components.engines.training.checkpoints import store
from components.engines.training.parallel.ranks import Ranks

TOY = "toy_records"


def stream(task, workers, max_steps=12):
    settings = training(max_steps=max_steps, accumulation_steps=2, loader_workers=workers)
    return StepStream(task, settings, Ranks.single(torch.device("cpu")), 0)


def timed(batches, steps):
    begin = time.perf_counter()
    for _ in range(steps):
        next(batches)
    return time.perf_counter() - begin


def test_any_number_of_loaders_gives_the_same_batches_in_the_same_order_and_two_are_faster():
    task, made, seconds = maker(TOY, seconds=0.005)(), {}, {}
    draws = torch.get_rng_state()
    for workers in (0, 1, 2, 3):
        with stream(task, workers, max_steps=24) as steps:
            batches = iter(steps)
            made[workers] = [next(batches) for _ in range(8)]  # the first ones wait for the processes
            seconds[workers] = timed(batches, 12)
        assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
    assert torch.equal(torch.get_rng_state(), draws)
    for workers in (1, 2, 3):
        for ours, theirs in zip(made[workers], made[0], strict=True):
            assert (ours.step, ours.weights) == (theirs.step, theirs.weights)
            for one, other in zip(ours.micro_batches, theirs.micro_batches, strict=True):
                assert torch.equal(one["tokens"], other["tokens"])
    assert seconds[2] < seconds[0] / 1.3, "16 samples of 5 ms a step, by two"


def test_what_a_loader_meets_is_told_with_its_place(tmp_path):
    """The same words with and without processes; training before the record went well."""
    told = []
    for workers in (0, 1):
        with pytest.raises(StageError, match=r"ValueError: no such picture. Where: step \d+, sample 17") as error:
            fit_here(TOY, training(loader_workers=workers, log_every=1), tmp_path / str(workers), broken=17)
        told.append(str(error.value))
    assert told[0] == told[1]
    with (
        stream(maker(TOY, uses_network=True)(), 1) as steps,
        pytest.raises(UsageError, match=r"uses a Gpt \(head\), and loader"),
    ):
        next(iter(steps))


def test_a_loader_that_is_killed_ends_the_run_and_may_be_tried_again():
    with stream(maker(TOY, seconds=0.005)(), 1, max_steps=1000) as steps:
        batches = iter(steps)
        next(batches)
        (child,) = [c for c in psutil.Process().children() if "spawn_main" in " ".join(c.cmdline())]
        child.kill()
        with pytest.raises(Transient, match=r"A loader process died \(exit code -9\)"):
            timed(batches, 900)


def test_a_killed_run_leaves_no_loader_and_goes_on_without(tmp_path):
    """Also after Ctrl-C for the whole group: the loaders go on until the step is saved."""
    settings = training(checkpoint_every=4, ema_decay=0.9)
    whole = fit_here(TOY, settings, tmp_path / "whole")
    work = tmp_path / "killed"
    process = start(TOY, training(checkpoint_every=4, ema_decay=0.9, loader_workers=2), work, seconds=0.01)
    while not store.saved_steps(work / "checkpoints"):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    loaders = [c for c in psutil.Process(process.pid).children() if "spawn_main" in " ".join(c.cmdline())]
    assert len(loaders) == 2
    for loader in loaders:
        os.kill(loader.pid, signal.SIGINT)
        os.kill(loader.pid, signal.SIGTERM)
    time.sleep(0.5)
    assert psutil.STATUS_ZOMBIE not in [loader.status() for loader in loaders]
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(loaders, timeout=60)
    assert not alive
    assert outcome(fit_here(TOY, settings, work)) == outcome(whole)
