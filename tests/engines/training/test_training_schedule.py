import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from components.engines.training.params import Training, micro_batch_size
from components.engines.training.schedule import learning_rate

SCHEDULES = ["constant", "linear", "cosine", "inverse_sqrt"]


@st.composite
def trainings(draw):
    max_steps = draw(st.integers(2, 400))
    return Training(
        max_steps=max_steps,
        batch_size=1,
        learning_rate=draw(st.floats(1e-6, 1.0)),
        schedule=draw(st.sampled_from(SCHEDULES)),
        warmup_steps=draw(st.integers(0, max_steps - 1)),
        min_learning_rate_ratio=draw(st.floats(0, 1)),
    )


@given(trainings())
def test_the_rate_warms_up_linearly_then_stays_between_minimum_and_peak(training):
    peak, low = training.learning_rate, training.learning_rate * training.min_learning_rate_ratio
    for step in range(training.max_steps):
        rate = learning_rate(training, step)
        if step < training.warmup_steps:
            assert rate == pytest.approx(peak * (step + 1) / training.warmup_steps)
        else:
            assert low * (1 - 1e-12) <= rate <= peak * (1 + 1e-12)


@given(trainings())
def test_after_the_warm_up_the_rate_never_rises(training):
    rates = [learning_rate(training, step) for step in range(training.warmup_steps, training.max_steps)]
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in zip(rates, rates[1:], strict=False))


HALF_WAY = {"constant": 1.0, "linear": 0.55, "cosine": 0.55, "inverse_sqrt": (10 / 61) ** 0.5}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_schedule_has_its_shape_half_way(schedule):
    sizes = {"max_steps": 110, "batch_size": 1, "warmup_steps": 10}
    training = Training(**sizes, learning_rate=1.0, schedule=schedule, min_learning_rate_ratio=0.1)
    assert learning_rate(training, 60) == pytest.approx(HALF_WAY[schedule])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"warmup_steps": 10}, "must be below max_steps"),
        ({"patience": 2}, "need score_every"),
        ({"select": "best"}, "need score_every"),
        ({"num_workers": -1}, "at least 0"),
        ({"num_workers": "many"}, "num_workers"),
        ({"max_steps": 0}, "greater than 0"),
        ({"precision": "fp8"}, "fp32"),
        ({"lerning_rate": 1}, "Extra inputs"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        Training(**{"max_steps": 10, "batch_size": 4, "learning_rate": 0.1, **changes})


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 16))
def test_sizes_that_divide_are_accepted(accumulation, world, size):
    training = Training(
        max_steps=1, batch_size=accumulation * world * size, learning_rate=1, accumulation_steps=accumulation
    )
    assert micro_batch_size(training, world) == size
