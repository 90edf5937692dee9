"""Real instructions and preferences go through every data stage by params alone; a planted question of the test is found."""

import json
from pathlib import Path

import pytest

from components.engines.base.errors import StageError
from components.engines.base.paths import read_json, read_jsonl
from components.engines.language.records import Records
from tests.chat_assistant.small import DATA, MODELS, SIZES, SMALL, small

SHARED = Path(__file__).resolve().parents[3] / "shared/data/chat"
SHARES = {**SIZES, "valid_fraction": 0.1, "test_fraction": 0.15}


def write(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared real data sets are not beside this checkout")
@pytest.mark.parametrize(
    ("conversations", "preferences", "pairs"),
    [
        ("sft_gsm8k_train", "pref_gsm8k_correct_vs_wrong", 200),
        ("sft_rasbt_instructions", "pref_rasbt_polite_vs_impolite", 200),
        ("sft_selfinstruct_seed_tasks", "pref_hh_harmless", 200),
    ],
)
def test_real_data_go_through_by_params_alone(tmp_path, conversations, preferences, pairs):
    asked = SHARED / f"{conversations}.jsonl"
    rows = [json.loads(line) for line in asked.read_text().splitlines()][:200]
    library = [{"text": "\n".join(str(value) for value in row.values())} for row in rows]
    ingest = {
        "conversations": {"source": write(tmp_path / "asked.jsonl", rows)},
        "preferences": {"source": str(SHARED / f"{preferences}.jsonl"), "limit": pairs},
        "texts": {"source": write(tmp_path / "texts.jsonl", library)},
        "max_bad_fraction": 0.2,
    }
    room = small(tmp_path, ingest=SHARES | ingest, clean={"max_words": 2_000, "max_rejected_fraction": 0.9})
    room.run_all("ingest", "clean", "validate", "tokenizer")
    counts = read_json(room.reports / "cleaning.json")
    for kind in ("conversations", "preferences"):
        assert counts[kind]["kept"] > 0.5 * len(rows if kind == "conversations" else range(pairs)), counts[kind]
    # the library holds the questions of the test: those that are long enough are found
    test = list(Records(room.data / "cleaned/conversations", "test"))
    long = [one for one in test if len(" ".join(one.texts.values()).split()) > 20]
    assert counts["texts"]["rejected"]["contaminated"] > 0.5 * len(long) > 0
    lengths = read_json(room.reports / "lengths.json")
    assert sum(lengths["conversations"].values()) == counts["conversations"]["kept"]
    assert lengths["conversations"]["too long"] > 0  # of 64 tokens
    if preferences.startswith("pref_rasbt"):
        reasons = [one["reason"] for one in read_jsonl(room.data / "records/preferences/quarantined.jsonl")]
        assert set(reasons) <= {"chosen equals rejected"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared real data sets are not beside this checkout")
@pytest.mark.parametrize(
    ("conversations", "preferences"),
    [
        ("sft_gsm8k_train", "pref_gsm8k_correct_vs_wrong"),
        ("sft_selfinstruct_seed_tasks", "pref_rasbt_polite_vs_impolite"),
    ],
)
def test_every_stage_runs_on_real_data_by_params_alone(tmp_path, conversations, preferences):
    rows = (SHARED / f"{conversations}.jsonl").read_text().splitlines()[:150]
    ingest = {
        "conversations": {"source": str(SHARED / f"{conversations}.jsonl"), "limit": 150},
        "preferences": {"source": str(SHARED / f"{preferences}.jsonl"), "limit": 150},
        "texts": {"source": write(tmp_path / "texts.jsonl", [{"text": row} for row in rows])},
        "max_bad_fraction": 0.2,
    }
    room = small(
        tmp_path,
        architecture=SMALL.model_copy(update={"max_tokens": 256}),
        ingest=SHARES | ingest,
        clean={"max_words": 2_000, "max_rejected_fraction": 0.9},
        validate={"min_train": 20, "min_test": 5},
    ).run_all(*DATA, *MODELS)
    figures = room.evaluate()
    assert figures["perplexity"] < figures["perplexity_unigram"]
    assert 0 <= figures["reward_accuracy"] <= 1
    assert "gold_sft" not in figures  # nobody knows what real answers are worth
    assert all(row["fields"] for row in read_jsonl(room.reports / "samples.jsonl"))


def test_an_official_test_set_is_kept_apart_and_looked_for_in_training(tmp_path):
    question = "A farmer has twelve red barns and in each of them there are seven hens that lay two eggs a day."
    rows = [{"question": f"What is {n} plus {n}?", "answer": f"Sure! {2 * n}."} for n in range(150)]
    texts = [{"text": f"Number {n} is a number, and so is {n + 1}."} for n in range(150)]
    planted = {"text": f"By the way. {question.upper()} So there are many eggs."}
    ingest = {
        "conversations": {"source": write(tmp_path / "train.jsonl", rows)},
        "test": {"source": write(tmp_path / "test.jsonl", [{"question": question, "answer": "168"}])},
        "texts": {"source": write(tmp_path / "texts.jsonl", [*texts, planted])},
    }
    room = small(tmp_path, ingest=SHARES | ingest)
    shards = room.run("ingest")["records"]
    records = [one.texts["text"] for one in Records(shards / "texts", "train")]
    room.run("clean")
    kept = [one.texts["text"] for one in Records(room.data / "cleaned/texts", "train")]
    assert planted["text"] in records
    assert read_json(room.reports / "cleaning.json")["texts"]["rejected"]["contaminated"] == 1
    assert planted["text"] not in kept
    assert question in [one.texts["0 user"] for one in Records(room.data / "cleaned/conversations", "test")]


def test_records_that_are_none_are_counted_and_too_many_stop_the_stage(tmp_path):
    good = [{"id": n, "prompt": f"Question {n}?", "response": "Yes."} for n in range(60)]
    bad = [
        {"id": 3, "prompt": "Again?", "response": "Yes."},
        {"messages": [{"role": "user", "content": "x"}, {"role": "tool", "content": "y"}]},
        {"messages": [{"role": "system", "content": "x"}]},
        {"prompt": "", "response": "y"},
        {"prompt": "x", "response": 7},
    ]
    source = {"conversations": {"source": write(tmp_path / "c.jsonl", [*good, *bad])}}
    room = small(tmp_path, ingest=SHARES | source)
    room.run("ingest")
    found = sorted(one["reason"] for one in read_jsonl(room.data / "records/conversations/quarantined.jsonl"))
    assert found == ["duplicate id", "empty turn", "no text", "system only", "tool call"]
    with pytest.raises(StageError, match="unusable"):
        small(tmp_path / "strict", ingest=SHARES | source | {"max_bad_fraction": 0.01}).run("ingest")
