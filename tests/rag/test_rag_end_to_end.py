"""From nothing to a champion that answers, as a user meets it: run, predict, and the gate after a change of the questions."""

import json

import pytest

from tests.translation.project_copy import copy_project, genworks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def training(steps):
    return {"training": {"max_steps": steps, "warmup_steps": 2, "score_every": steps, "batch_size": 16}}


SMALL = {
    "rag": {
        "architecture": {"encoder": {"width": 32, "layers": 1, "heads": 2}, "generator": {"width": 32, "layers": 1, "heads": 2}},
        "ingest": {"num_entities": 40, "scanned_fraction": 0.0},
        "validate": {"min_train": 20, "min_test": 3},
        "train_encoder": training(10),
        "raft_data": {"draws": 2},
        "raft": training(6),
        "evaluate": {"max_questions": 20},
        "promote": {"thresholds": {"hit_at_1": {"min": 0}, "exact": {"min": 0}, "leaks": {"max": 0}}},
    }
}  # fmt: skip


def test_a_run_from_nothing_ends_with_a_champion_and_a_changed_question_set_scores_it_again(tmp_path):
    root = copy_project(tmp_path, SMALL)
    done = genworks(root, "run", "rag", "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads(done.stdout)
    assert {stage["state"] for stage in summary["stages"]} == {"done"}
    assert summary["promotions"]["rag"]["decision"] == "promoted", summary["promotions"]
    page = (root / "reports/rag/report.html").read_text()
    assert all(shown in page for shown in ("hit_at_1", "reader_exact", "leaks"))

    asked = [
        json.dumps({"question": "What is the price of the Amber lamp?", "groups": "", "user": ""}),
        '{"question": ""}',
    ]
    done = genworks(root, "predict", "rag", *asked, "--json")
    answers = [json.loads(line)["output"] for line in done.stdout.splitlines()]
    assert isinstance(answers[0]["answer"], str), done.stderr
    assert answers[0]["citations"] or not answers[0]["found"]
    assert answers[1]["problem"] == "no question"

    changed = ("--set", "rag.evaluate.max_questions=12", "--set", "rag.raft.training.max_steps=4")
    done = genworks(root, "run", "rag", *changed, "--json")
    ran = {stage["stage"] for stage in json.loads(done.stdout)["stages"] if stage["state"] == "done"}
    assert ran == {"rag-raft", "rag-evaluate", "rag-register"}
    verdict = json.loads((root / "reports/rag/verdict.json").read_text())
    assert verdict["decision"] in ("promoted", "refused"), verdict
    assert "scored again" in json.dumps(verdict["remarks"])
