"""The global order: a pure function of (seed, epoch, step) that drops nothing."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.engines.base.errors import UsageError
from components.engines.shards.order import SampleOrder

RECORDED = [1, 5, 9, 7, 6, 0, 8, 4, 2, 3]

sizes, batches, seeds = st.integers(1, 60), st.integers(1, 80), st.integers(0, 2**40)


@given(sizes, batches, seeds, st.booleans())
def test_every_epoch_is_a_permutation(num_samples, batch_size, seed, shuffle):
    order = SampleOrder(num_samples, batch_size, seed, shuffle)
    epochs = 3
    steps = -(-epochs * num_samples // batch_size)
    stream = np.concatenate([order.step(step) for step in range(steps)])
    assert stream.dtype == np.int64
    assert len(stream) == steps * batch_size
    for epoch in range(epochs):
        part = stream[epoch * num_samples : (epoch + 1) * num_samples]
        assert sorted(part) == list(range(num_samples))
        if not shuffle:
            assert list(part) == list(range(num_samples))


@given(sizes, batches, seeds, st.integers(0, 50), st.integers(1, 9))
def test_ranks_share_out_the_global_batch_in_order(num_samples, batch_size, seed, step, world):
    order = SampleOrder(num_samples, batch_size, seed)
    together = np.full(batch_size, -1)
    for rank in range(world):
        together[rank::world] = order.for_rank(step, rank, world)
    assert list(together) == list(order.step(step))


@given(sizes, batches, seeds, st.lists(st.integers(0, 40), min_size=1, max_size=8))
def test_a_resumed_order_gives_the_same_steps_in_any_sequence(num_samples, batch_size, seed, steps):
    whole = SampleOrder(num_samples, batch_size, seed)
    expected = [list(whole.step(step)) for step in range(41)]
    used = SampleOrder(num_samples, batch_size, seed)
    for step in steps:
        assert list(used.step(step)) == expected[step]
        assert list(SampleOrder(num_samples, batch_size, seed).step(step)) == expected[step]
        assert used.epoch_of(step) == step * batch_size // num_samples


def test_epochs_and_seeds_differ():
    order = SampleOrder(1000, 1000, seed=1)
    assert list(order.step(0)) != list(order.step(1))
    assert list(order.step(0)) != list(SampleOrder(1000, 1000, seed=2).step(0))


def test_the_order_is_the_same_on_every_machine():
    # recorded once: a change here changes every training run
    assert list(SampleOrder(10, 10, seed=0).step(0)) == RECORDED


def test_the_caller_cannot_change_the_order():
    order = SampleOrder(10, 4, seed=0)
    before = list(order.step(1))
    order.step(1)[:] = -1
    assert list(order.step(1)) == before
    assert list(pickle.loads(pickle.dumps(order)).step(1)) == before  # noqa: S301 (made in this line)


@pytest.mark.parametrize(("num_samples", "batch_size"), [(0, 1), (1, 0), (-1, 1)])
def test_nothing_to_order_is_refused(num_samples, batch_size):
    with pytest.raises(UsageError, match="num_samples"):
        SampleOrder(num_samples, batch_size, 0)


def test_impossible_steps_and_ranks_are_refused():
    order = SampleOrder(10, 4, seed=0)
    with pytest.raises(ValueError, match="from 0"):
        order.step(-1)
    with pytest.raises(ValueError, match="rank 2 is not one of 2"):
        order.for_rank(0, 2, 2)
