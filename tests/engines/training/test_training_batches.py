import random
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy_fits import maker, training

from components.engines.base.errors import StageError
from components.engines.base.seeds import seed_everything
from components.engines.training.batches import StepStream
from components.engines.training.collate import micro_indices
from components.engines.training.draws import seed_place
from components.engines.training.parallel.ranks import Ranks

CPU = torch.device("cpu")


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 6))
def test_micro_batches_of_all_ranks_are_the_global_batch(accumulation, world, size):
    indices = np.arange(accumulation * world * size)
    shares = [micro_indices(indices, accumulation_steps=accumulation, rank=r, world=world) for r in range(world)]
    for j in range(accumulation):
        for r in range(world):
            start = (j * world + r) * size
            assert shares[r][j].tolist() == indices[start : start + size].tolist()


def test_the_stream_begins_at_any_step_with_what_it_would_have_held_there():
    task, settings = maker("toy_language_model")(), training(max_steps=10, accumulation_steps=2)
    with (
        StepStream(task, settings, Ranks.single(CPU), 0) as whole,
        StepStream(task, settings, Ranks.single(CPU), 6) as rest,
    ):
        tail, resumed = list(whole)[6:], list(rest)
    assert [item.step for item in resumed] == [6, 7, 8, 9]
    for one, other in zip(tail, resumed, strict=True):
        assert one.weights == other.weights
        for a, b in zip(one.micro_batches, other.micro_batches, strict=True):
            assert torch.equal(a["tokens"], b["tokens"])


def test_batches_are_made_while_the_step_before_is_computed():
    task, settings = maker("toy_language_model", pause=0.05)(), training(max_steps=8)
    with StepStream(task, settings, Ranks.single(CPU), 0) as stream:
        begin = time.perf_counter()
        for _ in stream:
            time.sleep(0.05)
        elapsed = time.perf_counter() - begin
    assert elapsed < 8 * 0.1 * 0.85


def test_leaving_early_ends_the_thread():
    task = maker("toy_language_model")()
    with StepStream(task, training(max_steps=10_000), Ranks.single(CPU), 0) as stream:
        next(iter(stream))
    assert not stream.thread.is_alive()
    assert "batches" not in [thread.name for thread in threading.enumerate()]


def test_an_error_comes_at_its_own_step():
    task = maker("toy_language_model")()
    plain, calls = task.batch, []

    def third_fails(indices, epoch):
        calls.append(1)
        if len(calls) == 3:
            raise ValueError("sample 17 is broken")
        return plain(indices, epoch)

    task.batch = third_fails
    with StepStream(task, training(), Ranks.single(CPU), 0) as stream:
        batches = iter(stream)
        next(batches), next(batches)
        with pytest.raises(StageError, match=r"ValueError: sample 17 is broken. Where: step 3, samples \d+, "):
            next(batches)


def test_collating_has_one_torch_thread_and_training_keeps_its_own():
    """Two OpenMP teams would spin against each other for the same cores."""
    task, before = maker("toy_language_model")(), torch.get_num_threads()
    plain, inside = task.batch, []
    task.batch = lambda indices, epoch: (inside.append(torch.get_num_threads()), plain(indices, epoch))[1]
    later: list[int] = []
    with StepStream(task, training(), Ranks.single(CPU), 0) as stream:
        next(iter(stream))
        other = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        other.start()
        other.join()
        assert torch.get_num_threads() == before
    assert set(inside) == {1}
    assert later == [before]


def test_a_place_is_seeded_as_seed_everything_would():
    def draws() -> list[float]:
        return [random.random(), np.random.random(), float(torch.rand(()))]

    seed_everything(7, 3, "lm", 1)
    expected = draws()
    seed_place(CPU, 7, 3, "lm", 1)
    assert draws() == expected
    seed_place(CPU, 7, 4, "lm", 1)
    assert draws() != expected
