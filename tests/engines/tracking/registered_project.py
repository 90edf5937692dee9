"""A project with a room `toy` that registers in a second: a real git commit, dvc.lock, stage runner, MLflow on SQLite.

The room's model shifts letters (its `weights.json` says by how many, how slowly, and which example ids it gets wrong).
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import components
from components.engines.base.paths import digest_value
from components.engines.base.stage import StageContext
from components.engines.tracking import store
from components.engines.tracking.registry import Receipt, register

REPOSITORY = Path(__file__).resolve().parents[3]

FILES = {
    "components/__init__.py": "",
    "components/toy/__init__.py": '"""A toy."""\n',
    "components/toy/letters.py": '''\
"""What the pipeline imports of its own room."""


def shifted(text: str, shift: int) -> str:
    return "".join(chr((ord(c) - 97 + shift) % 26 + 97) if c.islower() else c for c in text)
''',
    "components/toy/serve.py": '''\
"""The toy's inference pipeline."""

import json
import time
from pathlib import Path
from typing import Any, ClassVar

from components.engines.base.errors import UsageError
from components.toy.letters import shifted


class Shifter:
    example: ClassVar[list[dict[str, Any]]] = [{"text": "hello"}, {"text": "zebra"}]
    options: ClassVar[dict[str, Any]] = {"twice": False}

    def __init__(self, weights: dict[str, Any]) -> None:
        self.weights = weights

    @classmethod
    def load(cls, folder: Path) -> "Shifter":
        weights = json.loads((folder / "weights.json").read_text())
        if weights["shift"] is None:
            raise UsageError("no weights")
        return cls(weights)

    def predict(self, inputs: list[dict[str, Any]], twice: bool = False) -> list[dict[str, Any]]:
        time.sleep(self.weights["seconds"])
        shift = self.weights["shift"] * (2 if twice else 1)
        return [{"output": shifted(one["text"], shift), "length": len(one["text"])} for one in inputs]
''',
    "components/toy/evaluate.py": '''\
"""Score the toy's model on data/toy/test/examples.json."""

import json
from pathlib import Path

from components.engines.base import stage
from components.engines.base.paths import digest_value, write_json, write_jsonl


def evaluate(test: Path, model: Path, metrics: Path, scores_json: Path, scores_jsonl: Path) -> None:
    examples = json.loads((test / "examples.json").read_text())
    wrong = set(json.loads((model / "weights.json").read_text())["wrong"])
    rows = [
        {
            "id": one["id"],
            "slices": {"size": one["size"]},
            "metrics": {"exact": float(one["id"] not in wrong), "loss": float(one["id"] in wrong)},
        }
        for one in examples
    ]
    means = {name: sum(row["metrics"][name] for row in rows) / len(rows) for name in ("exact", "loss")}
    how = {"exact": {"aggregate": "mean", "higher_is_better": True}}
    how["loss"] = {"aggregate": "mean", "higher_is_better": False}
    write_json(metrics, means | {"note": "text is no metric", "part": {"exact": means["exact"]}})
    write_json(scores_json, {"examples": digest_value(examples), "metrics": how})
    write_jsonl(scores_jsonl, rows)


if __name__ == "__main__":
    stage.main(evaluate)
''',
    "dvc.yaml": """\
stages:
  toy-ingest:
    cmd: python -m components.toy.ingest
    deps: [data/code/toy-ingest.json, raw/words.txt]
    params: [toy.ingest]
    outs: [data/toy/words]
  toy-train:
    cmd: python -m components.toy.train
    deps: [data/code/toy-train.json, data/toy/words]
    params: [toy.train]
    outs: [data/toy/model]
  toy-evaluate:
    cmd: python -m components.toy.evaluate
    meta: {model_parts: {model: .}, examples: [test]}
    deps: [data/code/toy-evaluate.json, data/toy/test, data/toy/model]
    outs: [reports/toy/scores.json, reports/toy/scores.jsonl]
    metrics: [reports/toy/metrics.json: {cache: false}]
  toy-register:
    cmd: python -m components.toy.register
    deps: [data/code/toy-register.json, data/toy/model, reports/toy/metrics.json, reports/toy/scores.json]
    params: [toy.register]
    outs: [data/toy/receipt.json]
""",
    "params.yaml": """\
toy:
  ingest: {source: raw/words.txt}
  train: {steps: 3, api_key: hunter2}
  register: {}
  promote:
    gate: enforce
    metric: exact
    thresholds: {exact: 0.5, loss: {max: 0.5}}
    tolerance: 0.05
    resamples: 500
    seed: 0
""",
    "raw/words.txt": "hello\n",
    ".gitignore": "__pycache__/\n.work/\n/mlflow.db\n/mlartifacts/\n",
}

LOCK: dict[str, Any] = {
    "schema": "2.0",
    "stages": {
        "toy-ingest": {
            "cmd": "python -m components.toy.ingest",
            "deps": [
                {"path": "data/code/toy-ingest.json", "hash": "md5", "md5": "c0de", "size": 1},
                {"path": "raw/words.txt", "hash": "md5", "md5": "5043ce", "size": 6},
            ],
            "params": {"params.yaml": {"toy.ingest": {"source": "raw/words.txt"}}},
            "outs": [{"path": "data/toy/words", "hash": "md5", "md5": "30bd5.dir", "size": 6, "nfiles": 1}],
        },
        "toy-train": {
            "cmd": "python -m components.toy.train",
            "deps": [{"path": "data/toy/words", "hash": "md5", "md5": "30bd5.dir", "size": 6, "nfiles": 1}],
            "params": {"params.yaml": {"toy.train": {"steps": 3, "api_key": "hunter2"}}},
            "outs": [{"path": "data/toy/model", "hash": "md5", "md5": "30de1.dir", "size": 9, "nfiles": 1}],
        },
        "toy-evaluate": {
            "cmd": "python -m components.toy.evaluate",
            "deps": [
                {"path": "data/toy/model", "hash": "md5", "md5": "30de1.dir", "size": 9, "nfiles": 1},
                {"path": "data/toy/test", "hash": "md5", "md5": "7e57.dir", "size": 9, "nfiles": 1},
            ],
            "outs": [
                {"path": "reports/toy/metrics.json", "hash": "md5", "md5": "3e7", "size": 3},
                {"path": "reports/toy/scores.json", "hash": "md5", "md5": "5c0", "size": 3},
                {"path": "reports/toy/scores.jsonl", "hash": "md5", "md5": "5c1", "size": 3},
            ],
        },
    },
}


class Project:
    """The project and its verbs: `train` writes a model, `register` makes it a version and writes the receipt."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.trained = 0

    def train(
        self, wrong: int = 0, *, shift: int = 1, seconds: float = 0.0, wrong_in: str = "", marker: str = ""
    ) -> Project:
        """A model that gets the first `wrong` examples wrong (of slice `wrong_in`, if named)."""
        ids = [one["id"] for one in self.examples if wrong_in in ("", one["size"])][:wrong]
        weights = {"shift": shift, "seconds": seconds, "wrong": ids, "marker": marker}
        folder = self.root / "data/toy/model"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights.json").write_text(json.dumps(weights))
        self.evaluate()
        return self

    @property
    def examples(self) -> list[dict[str, Any]]:
        return json.loads((self.root / "data/toy/test/examples.json").read_text())

    def set_examples(self, count: int, offset: int = 0) -> None:
        """Three quarters of the examples are short, the rest long."""
        rows = [{"id": f"e{n}", "size": "long" if n % 4 == 0 else "short"} for n in range(offset, offset + count)]
        path = self.root / "data/toy/test/examples.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows))

    def evaluate(self) -> None:
        """The evaluate stage in this process (the gate runs the real command)."""
        from components.toy.evaluate import evaluate  # type: ignore[import-not-found]

        reports = self.root / "reports/toy"
        reports.mkdir(parents=True, exist_ok=True)
        evaluate(
            self.root / "data/toy/test",
            self.root / "data/toy/model",
            *(reports / name for name in ("metrics.json", "scores.json", "scores.jsonl")),
        )
        # dvc.lock follows the bytes, as DVC would write it
        lock = json.loads(json.dumps(LOCK))
        digest = digest_value((self.root / "data/toy/model/weights.json").read_text())[:8] + ".dir"
        lock["stages"]["toy-train"]["outs"][0]["md5"] = digest
        lock["stages"]["toy-evaluate"]["deps"][0]["md5"] = digest
        (self.root / "dvc.lock").write_text(yaml.safe_dump(lock))

    def context(self) -> StageContext:
        return StageContext("toy", "register", "key", self.root / ".work/toy-register/key", self.root, {}, {})

    def register(self, **options: Any) -> Receipt:
        reports = self.root / "reports/toy"
        evidence = {name: reports / name for name in ("metrics.json", "scores.json", "scores.jsonl")}
        model = self.root / "data/toy/model"
        receipt = register(self.context(), model, "components.toy.serve:Shifter", evidence, **options)
        receipt.write(self.root / "data/toy/receipt.json")
        return receipt

    def params(self, **changes: Any) -> None:
        """Change keys of toy.promote."""
        path = self.root / "params.yaml"
        document = yaml.safe_load(path.read_text())
        document["toy"]["promote"] |= changes
        path.write_text(yaml.safe_dump(document))

    def python(self, code: str, *, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Python code in another process, in the project."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.root,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done


@contextmanager
def toy_importable(root: Path) -> Iterator[None]:
    """`components.toy` of the project in this process, besides the repository's own `components`."""
    components.__path__.append(str(root / "components"))
    try:
        yield
    finally:
        components.__path__.remove(str(root / "components"))
        for name in [name for name in sys.modules if name.startswith("components.toy")]:
            del sys.modules[name]
        if hasattr(components, "toy"):
            del components.toy


def make_project(root: Path, *, with_database: bool = True) -> Project:
    """Write the project below `root` and commit it; a ready database saves MLflow the seconds of creating its schema."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "components/engines").symlink_to(REPOSITORY / "components/engines")
    for stage in ("ingest", "train", "evaluate", "register"):
        path = root / f"data/code/toy-{stage}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"modules": {"m": stage}, "libraries": {"numpy": "2.4.6"}, "external": {}}))
    project = Project(root)
    project.set_examples(200)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "toy"]):
        subprocess.run([*git, *arguments], cwd=root, check=True, capture_output=True)
    if with_database:
        shutil.copyfile(empty_database(), root / "mlflow.db")
    return project


@cache
def empty_database() -> Path:
    """An MLflow database with a schema and nothing in it, made once per test process."""
    folder = Path(tempfile.mkdtemp(prefix="genworks-empty-database-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with store.opened(store.store_of(folder)):
        return folder / "mlflow.db"
