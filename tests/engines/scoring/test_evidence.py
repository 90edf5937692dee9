"""Tests that hold in the tail: exact for right and wrong, careful with rare heavy losses; and the alpha ledger over a row."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.gate import power, skewed, wrong_promotions, zero_one
from components.engines.scoring.evidence import exact_p, gain_above, pseudo_values, student_p
from flows.alpha import allowance, weight


def test_without_wins_the_exact_p_is_at_least_the_binomials():
    assert 0.98**200 <= exact_p(200, 0, 0, -0.02) < 2 * 0.98**200  # outcomes with wins are as good
    assert exact_p(200, 0, 2, -0.05) >= binom.cdf(2, 200, 0.05) * 0.999


def test_p_values_of_candidates_at_the_bound_are_no_smaller_than_they_should_be():
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(120, [0.05, 0.1, 0.85], size=3000)
    found = np.array([exact_p(120, int(wins), int(losses), -0.05) for wins, losses, _ in drawn])
    for level in (0.05, 0.02, 0.005):
        assert (found <= level).mean() <= level + 3 * np.sqrt(level / 3000)


def test_rare_heavy_losses_that_a_test_set_may_not_hold_are_reckoned_with():
    """One example in a hundred loses everything, the others next to nothing: Student's t alone would be wrong 30 times."""
    rng = np.random.default_rng(1)
    lost = rng.random((4000, 200)) < 0.01
    gains = np.where(lost, -rng.uniform(3, 6, lost.shape), 0) + rng.normal(scale=0.02, size=lost.shape)
    assert (student_p(gains, 6.0, -0.045) <= 0.005).mean() <= 0.005


def test_equal_scores_show_little_on_few_examples_and_much_on_many():
    few = gain_above([0.5] * 20, [0.5] * 20, "mean", bound=-0.01, level=0.05)
    many = gain_above([0.5] * 2000, [0.5] * 2000, "mean", bound=-0.01, level=0.05)
    assert (few.passed, many.passed) == (False, True)
    assert few.least_gain < -0.05 < many.least_gain < 0


def test_the_lower_limit_is_where_the_test_turns_and_lower_may_be_better():
    rng = np.random.default_rng(2)
    champion = rng.normal(1, 0.2, 300)
    candidate = champion - rng.normal(0.1, 0.3, 300)  # a loss: smaller is better
    found = gain_above(candidate, champion, "mean", False, bound=0.0, level=0.01)
    assert found.passed
    inside, outside = found.least_gain - 0.01, found.least_gain + 0.01
    assert gain_above(candidate, champion, "mean", False, bound=inside, level=0.01).passed
    assert not gain_above(candidate, champion, "mean", False, bound=outside, level=0.01).passed


def test_pseudo_values_of_bleu_average_to_the_score():
    rng = np.random.default_rng(3)
    lengths = rng.integers(6, 20, 200)
    totals = [lengths - k for k in range(4)]
    rows = np.stack(
        [lengths, lengths, *(rng.binomial(t, 0.8 - 0.1 * k) for k, t in enumerate(totals)), *totals], axis=1
    )
    from components.engines.scoring.bootstrap import bleu

    assert pseudo_values(rows.astype(float)).mean() == pytest.approx(float(bleu(rows.sum(0))), abs=0.1)


def test_all_shares_of_alpha_together_are_one():
    assert sum(weight(number) for number in range(1, 200_000)) == pytest.approx(1, abs=0.002)
    assert sum(weight(number) for number in range(1, 200_000)) < 1


def test_the_ledger_counts_other_judgements_on_the_same_examples_only():
    lines = []
    for examples, judgement in (("t", "a"), ("t", "b"), ("u", "a"), ("t", "a")):
        lines.append(allowance(lines, examples, judgement, 0.05).as_dict())
    assert [one["number"] for one in lines] == [1, 2, 1, 1]
    assert lines[3]["level"] == lines[0]["level"]
    assert allowance(lines, "t", "c", 0.01).level == 0  # alpha was lowered below what is spent


@pytest.mark.parametrize(("draw", "gain"), [(zero_one, -0.025), (skewed, -0.15)])
def test_a_row_of_worse_candidates_gets_none_promoted_where_a_fixed_level_promotes_some(draw, gain):
    ours, fixed = wrong_promotions(draw, gain, rows=20)
    assert ours <= 0.15  # 3 of 20 has a chance below 8 % at alpha .05
    assert fixed > 0.5
    assert power(draw, 0.02 if draw is zero_one else 0.15, 1, tries=100)[0] > 0.5  # and better ones are promoted
