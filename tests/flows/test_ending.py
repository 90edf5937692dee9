"""The end of a run says what must be known, in ten lines."""

import json

import pytest

from flows.ending import MOST_LINES, after_run, nothing_to_do
from flows.pipeline import StageResult, Summary


def verdict(version=1, decision="promoted", reasons=()):
    words = f"version {version} {decision}"
    return {
        "candidate": {"version": version},
        "decision": decision,
        "reasons": list(reasons),
        "exit_code": int(decision == "refused"),
        "said": words,
    }


@pytest.fixture
def root(tmp_path):
    """Three systems that declare what their figures must beat; the third reads the first's model."""
    stages = {}
    sections = {}
    for system in ("one", "two", "three"):
        measures = tmp_path / "components" / system / "measures"
        measures.mkdir(parents=True)
        (measures / "figures.yaml").write_text(
            "headline: {bleu: {means: overlap, trivial: {bleu_copied: source copied}}}"
        )
        (tmp_path / "reports" / system).mkdir(parents=True)
        stages[f"{system}-train"] = {"cmd": "x", "deps": ["data/one/model"] if system == "three" else []}
        sections[system] = {"ingest": {"source": "a.tsv"}, "promote": {"thresholds": {"bleu": {"min": 60}}}}
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    (tmp_path / "params.yaml").write_text(json.dumps(sections))
    return tmp_path


def ended(systems, metrics, **promotions):
    stages = [StageResult(f"{system}-{name}", "done", 61.0) for system in systems for name in "abcdefghij"]
    many = {f"cleaning.reason {number}": 0.5 for number in range(40)}
    return Summary(
        systems=systems,
        stages=stages,
        metrics={system: {**many, **metrics} for system in systems},
        promotions=promotions,
        reports={system: f"reports/{system}/report.html" for system in systems},
        seconds=125.0,
    )


def test_one_system_with_many_stages_and_metrics_is_told_in_few_lines(root):
    text = after_run(ended(["one"], {"bleu": 70.0, "bleu_copied": 2.0}, one=verdict()), root)
    assert text.splitlines() == [
        "10 stages: 10 done; longest one-a 1 min 1 s",
        "version 1 promoted",
        "one: bleu 70 (≥ 60; source copied 2)",
        f"report: {root}/reports/one/report.html",
        "Done in 2 min 5 s. Runs and models in the browser: genworks up",
    ]


def test_a_figure_that_loses_to_its_trivial_baseline_is_told_after_a_run_and_after_one_with_nothing_to_do(root):
    metrics = {"bleu": 2.1, "bleu_copied": 14.5}
    loss = "one: bleu 2.1 is no better than its trivial baseline (source copied: 14.5)"
    assert loss in after_run(ended(["one"], metrics, one=verdict(decision="refused")), root)
    (root / "reports/one/metrics.json").write_text(json.dumps(metrics))
    assert loss in nothing_to_do([], {"one": verdict()}, [], root)


def test_a_model_that_stands_on_a_refused_one_is_told(root):
    refused = verdict(4, "refused", ["auc is below the threshold"])
    (root / "reports/one/verdict.json").write_text(json.dumps(refused))
    text = after_run(ended(["three"], {}, three=verdict()), root)
    assert "three: it stands on one version 4, which its gate refused: auc is below the threshold" in text


def test_three_systems_in_trouble_still_fit_in_ten_lines_and_what_is_left_out_is_said(root):
    systems = ["one", "two", "three"]
    summary = ended(
        systems, {"bleu": 2.0, "bleu_copied": 3.0}, **{name: verdict(decision="refused") for name in systems}
    )
    lines = after_run(summary, root).splitlines()
    assert len(lines) <= MOST_LINES
    assert sum("no better than" in line for line in lines) == 3
    assert "figures: in the reports" in lines


def test_failures_are_told_before_anything_else(root):
    summary = ended(["one"], {})
    summary.stages[3] = StageResult("one-d", "failed", error="the disk is full")
    summary.stages[4:] = [StageResult("one-e", "blocked", error="one-d did not finish")] * 20
    lines = after_run(summary, root).splitlines()
    assert lines[0].startswith("24 stages: 3 done, 1 failed, 20 blocked")
    assert lines[1] == "one-d failed: the disk is full"
    assert len(lines) <= MOST_LINES


def test_what_the_verdict_remarks_itself_is_told_once(root):
    metrics = {"bleu": 2.1, "bleu_copied": 14.5}
    loss = "bleu 2.1 is no better than its trivial baseline (source copied: 14.5)"
    noted = verdict() | {"remarks": [loss], "said": f"version 1 promoted. Note: {loss}"}
    assert after_run(ended(["one"], metrics, one=noted), root).count(loss) == 1
