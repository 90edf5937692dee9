"""Versions know what they stand on; the same thing is the same version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from components.engines.base.errors import StageError, UsageError
from components.engines.tracking import ledger
from components.engines.tracking.lineage import format_lineage, lineage
from components.engines.tracking.registry import (
    NoSuchVersion,
    Receipt,
    evidence_folder,
    model_folder,
    register,
    version,
)
from components.engines.tracking.store import opened, store_of


def test_the_same_model_on_the_same_evidence_is_the_same_version(project):
    first = project.train(wrong=20).register()
    again = project.train(wrong=20).register()
    assert (again.version, again.digest) == (first.version, first.digest)
    receipt = (project.root / "data/toy/receipt.json").read_bytes()
    assert json.loads(receipt) == {"name": "toy", "version": 1, "digest": first.digest}
    assert project.train(wrong=21).register().version == 2


def test_the_same_model_on_other_data_params_or_code_is_another_version(project):
    project.train(wrong=20).register()
    code = project.root / "data/code/toy-train.json"
    code.write_text(code.read_text().replace('"train"', '"changed"'))
    assert project.register().version == 2
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())
    lock["stages"]["toy-ingest"]["deps"][1]["md5"] = "07he4"
    (project.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert project.register().version == 3
    assert project.register().version == 3


def test_a_version_carries_data_code_params_environment_and_metrics(project):
    project.train(wrong=20).register()
    found = version(project.root, "toy", "latest")
    assert found.data["raw/words.txt"] == "5043ce"
    assert found.data["data/toy/words"] == "30bd5.dir"
    assert set(found.data) >= {"data/toy/model", "data/toy/test", "reports/toy/metrics.json"}
    assert found.tags["genworks.metric.exact"] == "0.9"
    assert json.loads(found.tags["genworks.params.toy-ingest"]) == {"toy.ingest": {"source": "raw/words.txt"}}
    assert json.loads(found.tags["genworks.environment"])["libraries"] == {"numpy": "2.4.6"}
    assert len(found.tags["genworks.commit"]) == 40
    assert found.tags["genworks.dirty"] == "false"
    assert "hunter2" not in str(found.tags)


def test_registering_moves_no_alias(project):
    project.train().register()
    project.train(wrong=1).register()
    assert version(project.root, "toy", 2).aliases == ()
    with pytest.raises(NoSuchVersion):
        version(project.root, "toy", "champion")


def test_uncommitted_code_is_said_to_be_so(project):
    (project.root / "components/toy/letters.py").write_text("def shifted(text, shift):\n    return text\n")
    project.train().register()
    assert version(project.root, "toy", 1).commit.endswith("(with uncommitted changes)")


def test_model_and_evidence_come_back_as_they_were(project, tmp_path):
    project.train(wrong=7).register()
    found = version(project.root, "toy", 1)
    evidence = evidence_folder(project.root, found, tmp_path / "evidence")
    for name in ("metrics.json", "scores.json", "scores.jsonl"):
        assert (evidence / name).read_bytes() == (project.root / "reports/toy" / name).read_bytes()
    model = model_folder(project.root, found, tmp_path / "model")
    assert (model / "weights.json").read_bytes() == (project.root / "data/toy/model/weights.json").read_bytes()


def test_a_model_changed_in_the_store_is_not_handed_out(project, tmp_path):
    project.train().register()
    weights = next((project.root / "mlartifacts/toy/models").rglob("weights.json"))
    weights.write_text("{}")
    with pytest.raises(StageError, match="not those that were registered"):
        model_folder(project.root, version(project.root, "toy", 1), tmp_path / "model")


def test_a_record_changed_in_the_store_is_not_believed(project):
    project.train().register()
    record = next((project.root / "mlartifacts/toy").rglob("record.json"))
    record.write_text(record.read_text().replace("5043ce", "a11e9ed"))
    with pytest.raises(StageError, match="was changed after registration"):
        lineage(project.root, "toy", 1)


def test_unknown_versions_are_answered_with_what_there_is(project):
    with pytest.raises(NoSuchVersion, match="No model 'toy' is registered"):
        version(project.root, "toy", 1)
    project.train().register()
    ledger.move(project.root, version(project.root, "toy", 1), "promote", evidence={})
    with pytest.raises(NoSuchVersion, match="no version or alias '5'") as raised:
        version(project.root, "toy", 5)
    assert "champion = 1" in raised.value.do
    assert version(project.root, "toy", "@champion").version == 1


def test_without_git_there_is_no_version(project):
    (project.root / ".git").rename(project.root / "nogit")
    project.train()
    with pytest.raises(UsageError, match="No git commit to name"):
        project.register()


def test_without_the_lock_there_is_no_version(project):
    project.train()
    (project.root / "dvc.lock").unlink()
    with pytest.raises(StageError, match="does not know where data/toy/model comes from"):
        project.register()


def test_a_lock_that_contradicts_itself_is_no_ground_to_stand_on(project):
    project.train()
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())
    lock["stages"]["toy-ingest"]["outs"][0]["md5"] = "0ther.dir"
    (project.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    with pytest.raises(StageError, match="toy-train was run on another data/toy/words"):
        project.register()


def test_a_failed_registration_leaves_no_version(project, monkeypatch):
    project.train()
    (project.root / "data/toy/model/weights.pkl").write_bytes(b"x")
    with pytest.raises(UsageError, match="holds pickles"):
        project.register()
    with pytest.raises(NoSuchVersion):
        version(project.root, "toy", "latest")
    with opened(store_of(project.root)) as client:
        experiment = client.get_experiment_by_name("toy").experiment_id
        assert [run.info.status for run in client.search_runs([experiment])] == ["FAILED"]


@pytest.mark.parametrize(
    ("evidence", "message"),
    [({"a": "reports/toy/nothing.json"}, "does not exist"), ({"a": "reports/x.json", "b": "x.json"}, "Two files")],
)
def test_evidence_must_be_there_under_names_of_its_own(project, evidence, message):
    project.train()
    for name in ("reports/x.json", "x.json"):
        (project.root / name).write_text("{}")
    paths = {name: project.root / path for name, path in evidence.items()}
    with pytest.raises(UsageError, match=message):
        register(project.context(), project.root / "data/toy/model", "components.toy.serve:Shifter", paths)


def test_a_damaged_receipt_is_named(tmp_path: Path):
    path = tmp_path / "receipt.json"
    path.write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        Receipt.read(path)


def test_lineage_goes_down_to_the_source_and_shows_accepted_changes(project):
    line = {"stage": "toy-train", "changes": {}, "who": "ann", "when": "2026-01-01T00:00:00Z", "why": "a rename"}
    (project.root / "code_accepted.jsonl").write_text(json.dumps(line) + "\n")
    project.train(wrong=20).register()
    ledger.move(project.root, version(project.root, "toy", 1), "promote", evidence={}, reason="looks fine")
    chain = lineage(project.root, "toy")
    assert [stage["stage"] for stage in chain["stages"]] == ["toy-register", "toy-evaluate", "toy-train", "toy-ingest"]
    by_path = {one["path"]: one for one in chain["upstream"]}
    assert by_path["data/toy/words"] == {
        "path": "data/toy/words",
        "stage": "toy-ingest",
        "md5": "30bd5.dir",
        "size": 6,
        "nfiles": 1,
    }
    assert by_path["raw/words.txt"]["stage"] is None
    assert chain["stages"][3]["params"] == {"toy.ingest": {"source": "raw/words.txt"}}
    assert chain["aliases"] == ["champion"]
    text = format_lineage(chain)
    assert "accepted by ann on 2026-01-01T00:00:00Z: a rename" in text
    assert "source  raw/words.txt  md5 5043ce" in text
    assert "promote by tester: looks fine" in text
    assert "hunter2" not in json.dumps(chain)
    with (project.root / "code_accepted.jsonl").open("a") as file:
        file.write(json.dumps(line | {"who": "bob", "why": "a comment's worth"}) + "\n")
    text = format_lineage(lineage(project.root, "toy"))
    assert "accepted by ann on 2026-01-01T00:00:00Z: a rename" in text
    assert "accepted since by bob on 2026-01-01T00:00:00Z: a comment's worth" in text
