"""The paired bootstrap: sacrebleu is the oracle for BLEU and its resampling, arithmetic for the rest."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.significance import PairedTest

from components.engines.base.errors import UsageError
from components.engines.scoring.bootstrap import bleu, paired_bootstrap, slice_intervals
from components.engines.scoring.compare import compare

WORDS = ["the", "cat", "sat", "on", "a", "red", "mat", "near", "an", "old", "dog"]


def sentences(seed: int, count: int, noise: float) -> tuple[list[str], list[str]]:
    """References and outputs in which a share `noise` of words is replaced."""
    rng = np.random.default_rng(seed)
    references = [list(rng.choice(WORDS, size=rng.integers(1, 12))) for _ in range(count)]
    outputs = [[str(rng.choice(WORDS)) if rng.random() < noise else w for w in words] for words in references]
    return [" ".join(words) for words in references], [" ".join(words) for words in outputs]


def statistics(outputs: list[str], references: list[str]) -> list[list[int]]:
    return BLEU()._extract_corpus_statistics(outputs, [references])


@given(
    st.lists(st.lists(st.sampled_from(WORDS), max_size=8), min_size=1, max_size=6),
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8), min_size=6, max_size=6),
)
@settings(max_examples=200, deadline=None)
def test_bleu_from_statistics_equals_sacrebleu_corpus_bleu(outputs, references):
    said = [" ".join(words) for words in outputs]
    wanted = [" ".join(words) for words in references][: len(said)]
    ours = bleu(np.sum(statistics(said, wanted), axis=0))
    assert float(ours) == pytest.approx(BLEU().corpus_score(said, [wanted]).score, abs=1e-9)


def test_bleu_of_matched_low_orders_only_is_smoothed_like_sacrebleu():
    said, wanted = ["the cat dog mat a red"], ["the cat sat on a red"]
    assert float(bleu(np.sum(statistics(said, wanted), axis=0))) == pytest.approx(
        BLEU().corpus_score(said, [wanted]).score, abs=1e-9
    )


def test_resampling_agrees_with_sacrebleus_own_paired_bootstrap(monkeypatch):
    references, good = sentences(1, 120, 0.15)
    _, bad = sentences(1, 120, 0.30)
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    test = PairedTest([("bad", bad), ("good", good)], {"BLEU": BLEU()}, [references], test_type="bs", n_samples=1000)
    _, scores = test()
    ours = paired_bootstrap(statistics(good, references), statistics(bad, references), "bleu", seed=7)
    oracle_bad, oracle_good = scores["BLEU"]
    assert ours.candidate == pytest.approx(oracle_good.score, abs=1e-6)
    assert ours.champion == pytest.approx(oracle_bad.score, abs=1e-6)
    # The same draws: sacrebleu's p-value, recomputed from our differences, is the same number.
    from components.engines.scoring import bootstrap

    differences = bootstrap._resampled_differences(
        np.asarray(statistics(good, references), dtype=float),
        np.asarray(statistics(bad, references), dtype=float),
        "bleu",
        1000,
        7,
    )
    shifted = np.abs(differences) - np.abs(differences).mean()
    p_value = ((shifted > abs(ours.difference)).sum() + 1) / 1001
    assert p_value == pytest.approx(oracle_good.p_value, abs=1e-9)


def test_blocks_do_not_change_the_draws(monkeypatch):
    from components.engines.scoring import bootstrap

    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=50), rng.normal(size=50)
    whole = paired_bootstrap(ours, theirs, "mean", seed=3)
    monkeypatch.setattr(bootstrap, "_CELLS", 500)
    blocks = paired_bootstrap(ours, theirs, "mean", seed=3)
    assert (blocks.low, blocks.high) == pytest.approx((whole.low, whole.high), abs=1e-12)


def test_a_clearly_better_candidate_has_its_interval_above_zero():
    rng = np.random.default_rng(0)
    base = rng.normal(size=300)
    better = paired_bootstrap(base + 0.2 + rng.normal(scale=0.1, size=300), base, "mean")
    assert better.better
    assert not better.worse
    assert better.p_better == 1.0
    assert better.low < better.difference < better.high


def test_the_direction_of_the_metric_decides_what_worse_means():
    rng = np.random.default_rng(0)
    base = rng.normal(size=300)
    higher = paired_bootstrap(base + 1, base, "mean", higher_is_better=True)
    lower = paired_bootstrap(base + 1, base, "mean", higher_is_better=False)
    assert higher.better
    assert lower.worse
    assert lower.gain == pytest.approx(-1)
    assert lower.p_better == 0.0


def test_equal_systems_are_neither_better_nor_worse():
    same = paired_bootstrap([1.0, 0.0, 1.0], [1.0, 0.0, 1.0], "mean")
    assert (same.difference, same.low, same.high, same.p_better) == (0, 0, 0, 0.5)
    assert not same.better
    assert not same.worse


def test_pairing_sees_what_unpaired_spread_hides():
    """Examples differ by far more than the systems do; only the pairing shows the small constant gain."""
    rng = np.random.default_rng(0)
    base = rng.normal(scale=100, size=200)
    assert paired_bootstrap(base + 0.5, base, "mean").better


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(200):
        noise = rng.normal(loc=0.3, scale=1.0, size=100)
        interval = paired_bootstrap(noise, np.zeros(100), "mean", resamples=400, seed=trial, confidence=0.9)
        covered += interval.low <= 0.3 <= interval.high
    assert 0.82 <= covered / 200 <= 0.96


def test_many_slices_widen_each_interval():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=400), rng.normal(size=400)
    members = {str(n): range(n * 40, n * 40 + 40) for n in range(10)}
    many = slice_intervals(ours, theirs, members, "mean", confidence=0.95)
    alone = slice_intervals(ours, theirs, {"0": members["0"]}, "mean", confidence=0.95)
    assert many["0"].confidence == pytest.approx(0.995)
    assert many["0"].high - many["0"].low > alone["0"].high - alone["0"].low


def test_harmless_candidates_are_seldom_called_worse_on_some_slice():
    """Without the correction about 23 % of equal candidates would fail on one of ten slices."""
    rng = np.random.default_rng(11)
    members = {str(n): range(n * 40, n * 40 + 40) for n in range(10)}
    refused = 0
    for trial in range(60):
        ours, theirs = rng.normal(size=400), rng.normal(size=400)
        intervals = slice_intervals(ours, theirs, members, "mean", resamples=500, seed=trial * 100)
        refused += any(interval.worse for interval in intervals.values())
    assert refused <= 8


@pytest.mark.parametrize(
    ("ours", "theirs", "aggregate"),
    [
        ([1.0], [1.0, 2.0], "mean"),
        ([], [], "mean"),
        ([float("nan")], [1.0], "mean"),
        ([[1, 2]], [[1, 2]], "bleu"),
        ([1.0], [1.0], "median"),
        ([[1.0], [1.0, 2.0]], [[1.0], [1.0]], "mean"),
    ],
)
def test_input_that_cannot_be_compared_is_refused(ours, theirs, aggregate):
    with pytest.raises(UsageError):
        paired_bootstrap(ours, theirs, aggregate)


def write_scores(folder, values, *, examples="digest", higher=True, slices=None):
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"examples": examples, "metrics": {"exact": {"aggregate": "mean", "higher_is_better": higher}}}
    (folder / "scores.json").write_text(json.dumps(settings))
    lines = [
        {"id": str(n), "slices": {"length": (slices or ["all"] * len(values))[n]}, "metrics": {"exact": value}}
        for n, value in enumerate(values)
    ]
    (folder / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_the_command_prints_intervals_of_metrics_and_slices(tmp_path):
    slices = ["short"] * 50 + ["long"] * 45 + ["huge"] * 5
    ours = write_scores(tmp_path / "a", [1.0] * 50 + [0.0] * 50, slices=slices)
    theirs = write_scores(tmp_path / "b", [0.0] * 50 + [1.0] * 50, slices=slices)
    command = [sys.executable, "-m", "components.engines.scoring.compare"]
    done = subprocess.run(
        [*command, "--candidate", str(ours), "--champion", str(theirs)], capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout)
    assert result["metrics"]["exact"]["difference"] == 0
    assert result["slices"]["exact"]["length=long"]["worse"]
    assert result["slices"]["exact"]["length=short"]["better"]
    assert result["small_slices"] == {"length=huge": 5}


def test_other_examples_are_no_comparison(tmp_path):
    ours = write_scores(tmp_path / "a", [1.0, 0.0])
    with pytest.raises(UsageError, match="different examples"):
        compare(ours, write_scores(tmp_path / "b", [1.0, 0.0, 1.0]))
    with pytest.raises(UsageError, match="the inputs do not"):
        compare(ours, write_scores(tmp_path / "c", [1.0, 0.0], examples="other"))


def test_lines_are_paired_by_id_not_by_position(tmp_path):
    ours = write_scores(tmp_path / "a", [1.0, 0.0, 0.5])
    theirs = write_scores(tmp_path / "b", [1.0, 0.0, 0.5])
    lines = (theirs / "scores.jsonl").read_text().splitlines()
    (theirs / "scores.jsonl").write_text("\n".join(reversed(lines)) + "\n")
    exact = compare(ours, theirs)["metrics"]["exact"]
    assert (exact["low"], exact["high"]) == (0, 0)


def test_broken_scores_are_named(tmp_path):
    ours = write_scores(tmp_path / "a", [1.0, 0.0])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="missing"):
        compare(ours, tmp_path / "empty")
    twice = write_scores(tmp_path / "c", [1.0, 0.0])
    (twice / "scores.jsonl").write_text((twice / "scores.jsonl").read_text() * 2)
    with pytest.raises(UsageError, match="twice"):
        compare(twice, ours)
