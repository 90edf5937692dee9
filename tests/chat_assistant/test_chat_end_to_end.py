"""From nothing to a champion that talks, as a user meets it: run, predict, sessions in the terminal."""

import json

import pytest

from tests.translation.project_copy import copy_project, genworks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def training(steps):
    return {"training": {"max_steps": steps, "warmup_steps": 2, "score_every": steps, "batch_size": 16}}


SMALL = {
    "chat_assistant": {
        "architecture": {"width": 32, "layers": 1, "heads": 2, "key_heads": 1},
        "ingest": {"num_texts": 150, "num_conversations": 500, "num_preferences": 400, "num_requests": 200},
        "validate": {"min_train": 50, "min_test": 5},
        "pretrain": training(10),
        "sft": training(60),
        "train_reward": training(10),
        "ppo": {**training(4), "num_measured": 16},
        "dpo": training(6),
        "train_safety": training(10),
        "evaluate": {"num_questions": 24, "draws": 1, "best_of": 2},
        "promote": {"thresholds": {"gain_dpo": {"min": -3}, "input_f1": {"min": 0}, "over_refusal": {"max": 1}}},
    }
}


def test_a_run_from_nothing_ends_with_a_champion_that_talks_and_remembers(tmp_path):
    root = copy_project(tmp_path, SMALL)
    done = genworks(root, "run", "chat_assistant", "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads(done.stdout)
    assert {stage["state"] for stage in summary["stages"]} == {"done"}
    assert summary["promotions"]["chat_assistant"]["decision"] == "promoted", summary["promotions"]
    page = (root / "reports/chat_assistant/report.html").read_text()
    assert all(shown in page for shown in ("gold reward", "win_rate_ppo", "hacking_gap"))

    asked = [json.dumps({"messages": [{"role": "user", "content": "What is 3 plus 4?"}]}), '{"messages": []}']
    done = genworks(root, "predict", "chat_assistant", *asked, "--json")
    answers = [json.loads(line)["output"] for line in done.stdout.splitlines()]
    assert answers[0]["answer"] or answers[0]["refused"]
    assert answers[1]["problem"]

    for count in (1, 2):
        done = genworks(root, "predict", "chat_assistant", "What is 3 plus 4?", "--session", "work", "--user", "ann")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip(), count
    done = genworks(root, "predict", "chat_assistant", "--session", "work", "--user", "ann", "--delete-session")
    assert "2 exchanges deleted" in done.stdout, done.stderr
