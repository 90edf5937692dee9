"""Ranking figures against scikit-learn, and at their ends."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from components.engines.base.errors import StageError
from components.engines.scoring.bootstrap import paired_bootstrap
from components.engines.scoring.ranking import auc_shares, chance_of_hit, hits_at, placements, roc_auc


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_scikit_learns_ties_included(seed):
    rng = np.random.default_rng(seed)
    good, bad = rng.integers(0, 12, 40), rng.integers(0, 9, 70)
    labels = np.r_[np.ones(40), np.zeros(70)]
    assert roc_auc(good, bad) == pytest.approx(roc_auc_score(labels, np.r_[good, bad]))
    assert placements(good, bad).mean() == pytest.approx(roc_auc(good, bad))


def test_ends_of_the_scale():
    assert roc_auc([2, 3], [0, 1]) == 1
    assert roc_auc([0, 1], [2, 3]) == 0
    assert roc_auc([1, 1], [1, 1]) == 0.5
    with pytest.raises(StageError, match="0 and 2"):
        roc_auc([], [1, 2])


def test_hits():
    scores = np.array([[0.1, 0.9, 0.5], [0.7, 0.2, 0.7]])
    relevant = np.array([[False, False, True], [True, False, False]])
    assert hits_at(scores, relevant, 1).tolist() == [False, True]
    assert hits_at(scores, relevant, 2).tolist() == [True, True]
    assert chance_of_hit(relevant) == pytest.approx(1 / 3)


def test_shares_vary_as_the_auc_does():
    """Their bootstrap has the spread of AUCs of fresh samples; that of placements alone has much less."""
    rng = np.random.default_rng(0)
    fresh = [roc_auc(rng.normal(1, 0.2, 100), rng.normal(0, 1, 100)) for _ in range(2000)]
    good, bad = rng.normal(1, 0.2, 100), rng.normal(0, 1, 100)
    shares = auc_shares(good, bad)
    assert shares.mean() == pytest.approx(roc_auc(good, bad))
    assert shares.std() / 10 == pytest.approx(np.std(fresh), rel=0.25)
    assert placements(good, bad).std() / 10 < 0.5 * np.std(fresh)


def test_one_bad_score_too_high_is_no_certain_difference():
    rng = np.random.default_rng(0)
    good, bad = rng.normal(3, 0.5, 500), rng.normal(0, 0.5, 500)
    slipped = np.r_[bad[1:], 5.0]
    interval = paired_bootstrap(auc_shares(good, slipped), auc_shares(good, bad), "mean")
    assert interval.difference < 0
    assert not interval.worse


def test_every_example_has_both_scores():
    with pytest.raises(StageError, match="2 and 1"):
        auc_shares([1, 2], [0])
