"""The toy project with a model: `toy-make → toy-train → toy-evaluate → toy-register`, a gate, an inference pipeline.

The model says a word of the text so many times; `train.quality` is the share of test examples it gets right.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.flows.toy_project import REPOSITORY, make_toy_project, quiet_environment

FILES = {
    ".gitignore": "__pycache__/\n.work/\n/.prefect/\n/mlflow.db\n/mlartifacts/\n/data/toy/\n/reports/toy/\n!metrics.json\n",
    "params.yaml": """\
toy:
  make: {count: 40, sleep: 0.0, fail: none}
  train:
    quality: 0.8
    times: 2
    source: words.txt  # outside the DAG, relative
  evaluate: {}
  register: {}
  promote:
    gate: enforce
    metric: exact
    thresholds: {exact: 0.5}
    tolerance: 0.2
    resamples: 200
""",
    "words.txt": "yes\n",
    "components/toy/params.py": '''\
"""Params of the toy's stages."""

from components.engines.base.params import Params


class Make(Params):
    count: int
    sleep: float
    fail: str


class Train(Params):
    quality: float
    times: int
    source: str


class Nothing(Params):
    pass
''',
    "components/toy/train.py": '''\
"""Write the weights."""

from pathlib import Path

from components.engines.base.paths import read_json, write_json
from components.engines.base.stage import StageContext, main
from components.toy.params import Train


def train(numbers: Path, model: Path, params: Train, context: StageContext) -> None:
    word = (context.root / params.source).read_text().strip()
    right = round(params.quality * len(read_json(numbers)))
    write_json(model / "weights.json", {"times": params.times, "right": right, "word": word})


if __name__ == "__main__":
    main(train)
''',
    "components/toy/evaluate.py": '''\
"""Score the model on every number."""

from pathlib import Path

from components.engines.base.paths import digest_value, read_json, write_json, write_jsonl
from components.engines.base.stage import main
from components.toy.params import Nothing


def evaluate(numbers: Path, model: Path, metrics: Path, scores: Path, rows: Path, params: Nothing) -> None:
    examples = read_json(numbers)
    right = read_json(model / "weights.json")["right"]
    lines = [{"id": str(n), "slices": {}, "metrics": {"exact": float(n < right)}} for n in examples]
    write_json(metrics, {"exact": right / len(examples)})
    how = {"exact": {"aggregate": "mean", "higher_is_better": True}}
    write_json(scores, {"examples": digest_value(examples), "metrics": how})
    write_jsonl(rows, lines)


if __name__ == "__main__":
    main(evaluate)
''',
    "components/toy/register.py": '''\
"""Register the model with its scores."""

import shutil
from pathlib import Path

from components.engines.base.stage import StageContext, main
from components.engines.tracking.registry import register as registered
from components.toy.params import Nothing


def register(
    model: Path, metrics: Path, scores: Path, rows: Path, receipt: Path, params: Nothing, context: StageContext
) -> None:
    lines = context.work / "scores.jsonl"
    shutil.copyfile(rows, lines)
    evidence = {"metrics.json": metrics, "scores.json": scores, "scores.jsonl": lines}
    registered(context, model, "components.toy.serve:Echo", evidence).write(receipt)


if __name__ == "__main__":
    main(register)
''',
    "components/toy/serve.py": '''\
"""The toy's inference pipeline."""

import json
from pathlib import Path
from typing import Any, ClassVar


class Echo:
    example: ClassVar[list[dict[str, Any]]] = [{"text": "hello"}]

    def __init__(self, weights: dict[str, Any]) -> None:
        self.weights = weights

    @classmethod
    def load(cls, folder: Path) -> "Echo":
        return cls(json.loads((folder / "weights.json").read_text()))

    def predict(self, inputs: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
        return [{"said": " ".join([one["text"]] * self.weights["times"]), "length": len(one["text"])} for one in inputs]
''',
    "dvc.yaml": "stages:\n  code:\n    cmd: python -m components.engines.base.fingerprint\n    always_changed: true\n"
    "    outs:\n      - data/code: {persist: true}\n"
    """\
  toy-make:
    cmd: python -m components.toy.make
    deps: [data/code/toy-make.json]
    params: [toy.make]
    outs: [data/toy/numbers.json]
  toy-train:
    cmd: python -m components.toy.train
    deps: [data/code/toy-train.json, data/toy/numbers.json]
    params: [toy.train]
    outs: [data/toy/model]
  toy-evaluate:
    cmd: python -m components.toy.evaluate
    meta: {model_parts: {model: .}, examples: [numbers]}
    deps: [data/code/toy-evaluate.json, data/toy/numbers.json, data/toy/model]
    params: [toy.evaluate]
    outs: [reports/toy/scores.json, reports/toy/rows.jsonl]
    metrics:
      - reports/toy/metrics.json: {cache: false}
  toy-register:
    cmd: python -m components.toy.register
    deps: [data/code/toy-register.json, data/toy/model, reports/toy/metrics.json, reports/toy/scores.json, reports/toy/rows.jsonl]
    params: [toy.register]
    outs: [data/toy/receipt.json]
""",
}


def make_registering_toy(root: Path) -> Path:
    """Write the project, committed, nothing run."""
    make_toy_project(root)
    for name in ("double", "square", "join"):
        (root / f"components/toy/{name}.py").unlink()
    (root / "components/toy/comparisons.yaml").unlink()
    scoring = root / "components/engines/scoring"
    shutil.copytree(REPOSITORY / "components/engines/scoring", scoring, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        (root / name).write_text(text, encoding="utf-8")
    commit(root, "A toy that registers")
    return root


def commit(root: Path, message: str) -> None:
    for command in (["git", "add", "-A"], ["git", "commit", "-q", "-m", message]):
        subprocess.run(command, cwd=root, check=True, env=quiet_environment())
