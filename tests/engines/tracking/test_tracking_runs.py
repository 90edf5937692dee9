"""Stage runs: what they record, how they end, and what they never record."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path
from typing import Any

import pytest

from components.engines.base.errors import Stopped, UsageError
from components.engines.base.stage import StageContext
from components.engines.tracking.runs import Run, stage_run
from components.engines.tracking.secrets import HIDDEN, flatten, masked
from components.engines.tracking.store import opened, store_of
from tests.engines.tracking.registered_project import REPOSITORY, Project


def context(root: Path) -> StageContext:
    return StageContext("toy", "train", "0123abc", root / ".work", root, {}, {})


def stored(project: Project, run: Run) -> Any:
    with opened(store_of(project.root)) as client:
        return client.get_run(run.run_id)


def test_a_run_knows_its_stage_params_commit_and_pipeline_run(project, monkeypatch):
    monkeypatch.setenv("GENWORKS_PIPELINE_RUN", "pipeline-7")
    params = {"training": {"max_steps": 10, "precision": "fp32"}, "seeds": [1, 2]}
    with stage_run(context(project.root), params) as run:
        run.log_metrics({"bleu": 61.5, "beam": {"bleu": 62}})
    found = stored(project, run)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"training.max_steps": "10", "training.precision": "fp32", "seeds": "[1, 2]"}
    assert found.data.metrics == {"bleu": 61.5, "beam.bleu": 62.0}
    tags = found.data.tags
    assert (tags["genworks.stage"], tags["genworks.key"], tags["genworks.dirty"]) == ("train", "0123abc", "false")
    assert tags["genworks.pipeline_run"] == "pipeline-7"
    assert len(tags["mlflow.source.git.commit"]) == 40


def test_each_call_is_a_new_run(project):
    with stage_run(context(project.root), {}) as one:
        pass
    with stage_run(context(project.root), {}) as other:
        pass
    assert one.run_id != other.run_id


def test_a_failure_marks_the_run_and_keeps_its_own_words(project):
    with pytest.raises(ZeroDivisionError), stage_run(context(project.root), {}) as run:
        _ = 1 / 0
    assert stored(project, run).info.status == "FAILED"
    for told in (KeyboardInterrupt(), Stopped("Training stopped after step 3")):
        with pytest.raises(type(told)), stage_run(context(project.root), {}) as run:
            raise told
        assert stored(project, run).info.status == "KILLED"


def test_a_store_set_up_wrongly_is_refused_before_any_work(project):
    (project.root / "mlflow.db").write_bytes(b"x" * 4096)
    with pytest.raises(UsageError, match="damaged or no SQLite file"), stage_run(context(project.root), {}):
        pytest.fail("nothing is worked for a store that no retry can cure")
    assert not list((project.root / ".work/tracking/runs").glob("2*"))


def test_a_failure_is_not_hidden_by_a_store_that_is_gone_too(project):
    def work() -> None:
        with stage_run(context(project.root), {}):
            (project.root / "mlflow.db").write_bytes(b"x" * 4096)
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        work()


def test_figures_of_many_steps_all_arrive_in_order(project):
    with stage_run(context(project.root), {}) as run:
        for step in range(1200):
            run.log(step, {"loss": 1 / (step + 1)})
    with opened(store_of(project.root)) as client:
        curve = client.get_metric_history(run.run_id, "loss")
    assert [point.step for point in sorted(curve, key=lambda point: point.step)] == list(range(1200))


def test_an_observer_in_another_process_writes_to_the_same_run(project):
    with stage_run(context(project.root), {}) as run:
        observer = pickle.loads(pickle.dumps(run.observer()))  # noqa: S301 - the way Ray hands it over
        observer.log(3, {"loss": 0.5})
        observer.close()
    assert stored(project, run).data.metrics == {"loss": 0.5}


def test_files_and_folders_are_attached(project, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    with stage_run(context(project.root), {}) as run:
        run.log_file(tmp_path / "folder")
        run.log_file(tmp_path / "b.txt")
    assert {path.name for path in (project.root / f"mlartifacts/toy/{run.run_id}").rglob("*.txt")} == {"a.txt", "b.txt"}


def test_secrets_are_not_logged(project):
    params = {
        "source": "https://me:hunter2@data.example/x.tsv?X-Amz-Signature=abcdef&part=1",
        "hub_token": "hf_abcdefghijklmnopqrstuvwxyz",
        "nested": {"api_key": "k3y", "note": "use sk-abcdefghijklmnopqrstuvwxyz here"},
        "eos_token": "</s>",
        "max_tokens": 128,
        "tokenizer": "bpe",
    }
    with stage_run(context(project.root), params) as run:
        pass
    logged = stored(project, run).data.params
    text = str(logged)
    for secret in ("hunter2", "abcdef", "hf_abc", "k3y", "sk-abc"):
        assert secret not in text
    assert logged["source"] == f"https://{HIDDEN}@data.example/x.tsv?X-Amz-Signature={HIDDEN}&part=1"
    assert (logged["eos_token"], logged["max_tokens"], logged["tokenizer"]) == ("</s>", "128", "bpe")


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("password", True),
        ("db_password", True),
        ("github_token", True),
        ("token", True),
        ("aws_secret_access_key", True),
        ("privateKey", False),
        ("decoder_start_token", False),
        ("bos_token", False),
        ("image_token", False),
        ("key", False),
        ("monkey", False),
        ("author", False),
    ],
)
def test_keys_that_hold_secrets_are_known_by_name(key, secret):
    assert (masked({key: "value"})[key] == HIDDEN) is secret


@pytest.mark.parametrize("room", ["clip", "image_captioning", "text_to_image", "translation"])
def test_an_evaluation_works_inside_its_run(room):
    """Else its duration is 0 and its failures are tracked nowhere."""
    tree = ast.parse((REPOSITORY / "components" / room / "evaluate.py").read_text())
    function = next(one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == "evaluate")
    work = [one for one in function.body if not isinstance(one, ast.Import | ast.ImportFrom | ast.Expr)]
    assert len(work) == 1
    assert isinstance(work[0], ast.With)
    assert ast.unparse(work[0].items[0]).startswith("stage_run(")


def test_flattening_keeps_every_leaf():
    assert flatten({"a": {"b": {"c": 1}, "d": []}, "e": {}}) == {"a.b.c": 1, "a.d": [], "e": {}}
