"""From nothing to a champion, as a user meets it: run, predict, and the gate after a change of the test set."""

import json

import pytest

from tests.translation.project_copy import copy_project, genworks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = {
    "smart_compose": {
        "architecture": {"width": 32, "layers": 1, "heads": 2, "max_tokens": 96, "context_tokens": 40},
        "ingest": {"num_train": 300, "num_test": 24},
        "validate": {"min_train": 50, "min_test": 5},
        "train": {
            "training": {
                "max_steps": 30,
                "warmup_steps": 3,
                "learning_rate": 1e-2,
                "score_every": 30,
                "checkpoint_every": 30,
            }
        },
        "tokenizer": {"vocab_size": 500},
        "calibrate": {"places_per_mail": 1},
        "evaluate": {"places_per_mail": 1, "typed_mails": 1, "num_samples": 6},
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
    changed = (
        "--set",
        "smart_compose.ingest.num_test=30",
        "--set",
        "smart_compose.train.training.max_steps=4",
        "--set",
        "smart_compose.train.training.warmup_steps=1",
    )
    done = genworks(project, "run", "smart_compose", *changed, "--json")
    verdict = json.loads((project / "reports/smart_compose/verdict.json").read_text())
    assert verdict["decision"] == "refused", done.stderr
    assert verdict["checks"]["comparison"]["metrics"]["log_likelihood"]["worse"]
    assert "test set" in json.dumps(verdict)
