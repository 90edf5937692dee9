"""A model version made again: its commit in a working tree of its own, its recorded params, every stage run anew."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from components.engines.base import external
from components.engines.base.errors import StageError, UsageError
from components.engines.base.params import read_yaml
from components.engines.base.paths import atomic_write
from flows.child import Children, python_environment
from flows.execute import is_chatter
from flows.sweeping import scratch


def reproduce(
    root: Path, chain: dict[str, Any], children: Children, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Run every stage behind the version and compare: `[{path, stage, recorded, rebuilt, equal}]`.

    `chain` is what `tracking.lineage.lineage` tells. The version itself is not registered again. Raises UsageError when its
    commit is gone, StageError when a stage fails.
    """
    made = [artefact for artefact in chain["upstream"] if artefact["stage"]]
    targets = list(dict.fromkeys(artefact["stage"] for artefact in made))
    with _working_tree(root, chain["git"]["commit"]) as tree:
        _restore_params(root, tree, chain["stages"])
        _run(tree, targets, children, say)
        lock = read_yaml(tree / "dvc.lock")["stages"]
    rebuilt = {out["path"]: out.get("md5") for stage in lock.values() for out in stage.get("outs", [])}
    return [
        {
            "path": one["path"],
            "stage": one["stage"],
            "recorded": one.get("md5"),
            "rebuilt": rebuilt.get(one["path"]),
            "equal": one.get("md5") is not None and one.get("md5") == rebuilt.get(one["path"]),
        }
        for one in made
    ]


@contextmanager
def _working_tree(root: Path, commit: str) -> Iterator[Path]:
    """The project as of a commit, in a folder that is gone afterwards."""
    top = Path(_git(root, "rev-parse", "--show-toplevel"))
    if _git(root, "cat-file", "-t", commit, check=False) != "commit":
        raise UsageError(f"Commit {commit} is not in this repository", where=str(root), do="git fetch it")
    with scratch(root, "rebuild-") as folder:
        try:
            _git(root, "worktree", "add", "--detach", "--force", str(folder), commit)
            tree = folder / root.resolve().relative_to(top.resolve())
            if not (tree / "dvc.yaml").is_file():
                raise UsageError(f"Commit {commit} holds no dvc.yaml", where=str(root))
            yield tree
        finally:
            _git(root, "worktree", "remove", "--force", str(folder), check=False)


def _restore_params(root: Path, tree: Path, stages: list[dict[str, Any]]) -> None:
    """The values the version was made with, in case params.yaml was edited after the commit."""
    path = tree / "params.yaml"
    document = read_yaml(path)
    for facts in stages:
        for key, value in facts["params"].items():
            _put(document, key.split("."), _findable(root, value, key))
    with atomic_write(path) as partial:
        partial.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _put(document: dict[str, Any], parts: list[str], value: Any) -> None:
    node = document
    for part in parts[:-1]:
        node = node.setdefault(part, {})
    node[parts[-1]] = value


def _findable(root: Path, value: Any, key: str) -> Any:
    """Relative paths outside the DAG, made absolute: the tree lies elsewhere."""
    if isinstance(value, dict):
        return {name: _findable(root, child, name) for name, child in value.items()}
    name = key.rsplit(".", 1)[-1]
    relative = isinstance(value, str) and "://" not in value and not Path(value).is_absolute()
    return str(root / value) if relative and name in external.EXTERNAL_KEYS and (root / value).exists() else value


def _run(tree: Path, targets: list[str], children: Children, say: Callable[[str], None]) -> None:
    """Every stage anew, not from DVC's cache; tracked in the tree's own store, which is gone with it."""
    env = {k: v for k, v in python_environment().items() if not k.startswith("MLFLOW_")}
    env |= {"MLFLOW_TRACKING_URI": f"sqlite:///{tree / 'mlflow.db'}"}
    process = children.start(["dvc", "repro", "--force", *targets], cwd=tree, env=env)
    lines = []
    try:
        assert process.stdout is not None
        for text in process.stdout:
            lines.append(text.rstrip())
            if lines[-1].startswith("Running stage '"):
                say(lines[-1])
            elif not is_chatter(lines[-1]):
                say(f"  {lines[-1]}")
        code = process.wait()
    except BaseException:
        children.stop(process)
        raise
    children.forget(process)
    if code:
        told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")] or lines[-3:]
        raise StageError(f"The version cannot be made again: {' '.join(told)}")


def _git(root: Path, *arguments: str, check: bool = True) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, encoding="utf-8", check=False)
    if check and done.returncode:
        raise StageError(f"git {arguments[0]} failed: {done.stderr.strip()}", where=str(root))
    return done.stdout.strip()
