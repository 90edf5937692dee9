"""`genworks whatif`: yield, precision and recall at any threshold, from stored scores alone."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.commands.whatif import at
from tests.flows.toy_project import genworks, make_toy_project

SCORES = [(0.9, False), (0.8, False), (0.7, True), (0.6, False), (0.2, True), (0.1, True)]


def test_figures_of_a_threshold():
    assert at(SCORES, 0.65) == {
        "threshold": 0.65, "kept": 3, "yield": 0.5, "precision": 2 / 3, "recall": 2 / 3, "wrong_kept": 1 / 3,
    }  # fmt: skip


def test_where_the_truth_is_unknown_only_the_yield_is_told():
    told = at([(0.9, None), (0.1, None)], 0.5)
    assert told["yield"] == 0.5
    assert told["precision"] is told["recall"] is told["wrong_kept"] is None


@given(st.lists(st.tuples(st.floats(-1, 1), st.booleans()), min_size=1), st.floats(-1, 1), st.floats(-1, 1))
def test_a_higher_threshold_keeps_no_more_and_finds_no_less(rows, one, other):
    low, high = (at(rows, threshold) for threshold in sorted((one, other)))
    assert high["kept"] <= low["kept"]
    assert (high["recall"] or 0) >= (low["recall"] or 0)


@pytest.fixture
def toy(tmp_path):
    root = make_toy_project(tmp_path / "toy")
    (root / "reports/toy").mkdir(parents=True)
    return root


def test_the_command_shows_other_thresholds_beside_the_current_one(toy):
    lines = [f"{n},train,{score},{int(wrong)}" for n, (score, wrong) in enumerate(SCORES)]
    (toy / "reports/toy/filter_scores.csv").write_text("\n".join(["key,split,score,wrong", *lines]) + "\n")
    (toy / "reports/toy/filtering.json").write_text(json.dumps({"threshold": 0.5}))
    done = genworks(toy, "whatif", "toy", "--threshold", "0.65", "0.5", "--json")
    found = json.loads(done.stdout)
    assert [(one["threshold"], one["current"]) for one in found["thresholds"]] == [(0.5, True), (0.65, False)]
    shown = genworks(toy, "whatif", "toy").stdout
    assert "<- params" in shown
    assert len(shown.splitlines()) > 5
    assert "unknown" not in genworks(toy, "whatif", "toy", "--threshold", "-1").stdout  # it marks nothing: no precision


def test_a_system_without_stored_scores_says_what_to_run(toy):
    done = genworks(toy, "whatif", "toy", "--threshold", "0.5")
    assert done.returncode == 2
    assert "genworks run toy --until filter" in done.stderr


def test_of_several_filters_one_is_named(toy):
    rows = [f"{n},train,{name},{score},{int(wrong)}" for name in "ab" for n, (score, wrong) in enumerate(SCORES)]
    (toy / "reports/toy/filter_scores.csv").write_text("\n".join(["key,split,filter,score,wrong", *rows]) + "\n")
    (toy / "reports/toy/filtering.json").write_text(json.dumps({"thresholds": {"a": 0.5, "b": 0.65}}))
    found = json.loads(genworks(toy, "whatif", "toy", "--filter", "b", "--threshold", "0.65", "--json").stdout)
    assert (found["filter"], found["pairs"], found["thresholds"][0]["current"]) == ("b", 6, True)
    for asked in ([], ["--filter", "c"]):
        done = genworks(toy, "whatif", "toy", *asked)
        assert done.returncode == 2
        assert "--filter: a, b" in done.stderr
