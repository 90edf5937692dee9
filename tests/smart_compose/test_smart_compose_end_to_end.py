"""From nothing to a champion, as a user meets it: run, predict, and the gate after a change of the test set."""

import json

import pytest

from tests.translation.project_copy import copy_project, genworks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = {
    "smart_compose": {
        "architecture": {"width": 32, "layers": 1, "heads": 2, "max_tokens": 96, "context_tokens": 40},
        "ingest": {"num_train": 600, "num_test": 40},
        "validate": {"min_train": 50, "min_test": 5},
        "train": {"training": {"max_steps": 60, "warmup_steps": 5, "score_every": 30, "checkpoint_every": 60}},
        "evaluate": {"typed_mails": 2},
        "promote": {"thresholds": {"perplexity_over_grammar": {"max": 50}, "exact_match_3_covered": {"min": 0}}},
    }
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = copy_project(tmp_path_factory.mktemp("clone"), SMALL)
    done = genworks(root, "run", "smart_compose", "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    (root / "first.json").write_text(done.stdout)
    return root


def test_a_run_from_nothing_ends_with_a_champion_and_a_report(project):
    summary = json.loads((project / "first.json").read_text())
    assert {stage["state"] for stage in summary["stages"]} == {"done"}
    assert summary["promotions"]["smart_compose"]["decision"] == "promoted"
    page = (project / "reports/smart_compose/report.html").read_text()
    for shown in ("perplexity", "keystrokes", "coverage"):
        assert shown in page
    again = json.loads(genworks(project, "run", "smart_compose", "--json").stdout)
    assert {stage["state"] for stage in again["stages"]} == {"cached"}


def test_the_champion_answers_a_keystroke_and_says_why_it_does_not(project):
    asked = [json.dumps({"typed": "Dear Anna,\nI hope this m"}), json.dumps({"typed": "write to anna@exam"})]
    done = genworks(project, "predict", "smart_compose", *asked, "--json")
    assert done.returncode in (0, 1), done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == 2
    assert "personal data" in json.dumps(answers[1])


def test_the_champion_is_scored_again_on_a_changed_test_set(project):
    changed = ("--set", "smart_compose.ingest.num_test=60", "--set", "smart_compose.train.training.max_steps=20")
    done = genworks(project, "run", "smart_compose", *changed, "--json")
    verdict = json.loads((project / "reports/smart_compose/verdict.json").read_text())
    assert verdict["decision"] == "refused", done.stderr
    assert verdict["checks"]["comparison"]["metrics"]["log_likelihood"]["worse"]
    assert "test set" in json.dumps(verdict)
