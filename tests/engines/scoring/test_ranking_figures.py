"""Figures of rankings beside scikit-learn's and what can be worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from components.engines.scoring.ranking import ranking_figures


def test_by_hand():
    figures = ranking_figures([[False, True, False, True, False], [False] * 5], [2, 1], k=3)
    assert figures["hit_at_1"] == 0.0
    assert figures["hit_at_3"] == 0.5
    assert figures["precision_at_3"] == pytest.approx(1 / 6)
    assert figures["recall_at_3"] == 0.25
    assert figures["mrr"] == 0.25
    assert figures["map"] == pytest.approx((1 / 2 + 2 / 4) / 2 / 2)
    assert ranking_figures([], []) == {}


@given(st.lists(st.booleans(), min_size=2, max_size=10).filter(any))
def test_as_scikit_learn_has_it(row):
    figures = ranking_figures([row], [sum(row)])
    scores = -np.arange(len(row), dtype=float)
    assert figures["map"] == pytest.approx(average_precision_score(row, scores))
    assert figures["ndcg"] == pytest.approx(ndcg_score([row], [scores], k=10))
