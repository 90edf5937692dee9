"""What `genworks doctor` looks at. Each check answers for itself, so that one failure hides no other."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.engines.base.errors import GenworksError, UsageError
from components.engines.base.params import read_yaml
from components.engines.base.paths import project_root
from components.engines.base.work import held
from flows import leftovers, servers
from flows.project import open_project

State = Literal["ok", "warn", "fail"]
MIN_PYTHON = (3, 11)
WARN_FREE_GB, FAIL_FREE_GB = 10.0, 1.0
CONSTRAINTS = "constraints.txt"
_LISTED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    state: State
    what: str
    detail: str


def checkup(start: Path) -> list[Finding]:
    """All findings, those about the installation first; the project's own need a project."""
    findings = [*_guarded("Python", _python), *_guarded("Ray", _ray), *_guarded("ports", _ports)]
    try:
        root = project_root(start)
    except UsageError as error:
        return [*findings, Finding("fail", "project", str(error))]
    checks: list[tuple[str, Callable[[Path], Iterator[Finding]]]] = [
        ("libraries", _libraries),
        ("git and DVC", _repositories),
        ("disk", _disk),
        ("locks", _locks),
        ("params", _params),
        ("MLflow", _tracking),
        ("champions", _champions),
    ]
    for what, check in checks:
        findings += _guarded(what, lambda check=check: check(root))  # type: ignore[misc]
    return findings


def _guarded(what: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """A check's findings; what it could not find out is a finding too."""
    try:
        return list(check())
    except (GenworksError, OSError, ImportError) as error:
        return [Finding("fail", what, str(error))]


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info[:2] >= MIN_PYTHON
    yield Finding("ok" if good else "fail", "Python", version if good else f"{version}: 3.11 or newer is needed")


def _ray() -> Iterator[Finding]:
    if importlib.util.find_spec("ray") is None:
        yield Finding("fail", "Ray", "is not installed: pip install -c constraints.txt -e .")
    else:
        yield Finding("ok", "Ray", importlib.metadata.version("ray"))


def _ports() -> Iterator[Finding]:
    for what, port in (("Prefect", 4200), ("MLflow", 5000)):
        free = servers.usable_port(None, port) == port
        detail = "is free" if free else "is taken: genworks up will take another"
        yield Finding("ok" if free else "warn", f"port {port} ({what})", detail)


def _libraries(root: Path) -> Iterator[Finding]:
    path = root / CONSTRAINTS
    if not path.is_file():
        yield Finding("warn", "libraries", f"no {CONSTRAINTS} to compare with")
        return
    wanted = dict(_LISTED.findall(path.read_text(encoding="utf-8")))
    wrong = []
    for name, version in wanted.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # only of an extra that is not installed here
        if installed.split("+")[0] != version.split("+")[0]:
            wrong.append(f"{name} {installed} instead of {version}")
    if wrong:
        yield Finding("warn", "libraries", f"{', '.join(wrong)}: pip install -c {CONSTRAINTS} -e .")
    else:
        yield Finding("ok", "libraries", f"as in {CONSTRAINTS}")


def _repositories(root: Path) -> Iterator[Finding]:
    if shutil.which("git") is None:
        yield Finding("fail", "git", "is not installed")
    open_project(root)
    yield Finding("ok", "git and DVC", "set up")


def _disk(root: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(root).free / 1e9
    state: State = "fail" if free < FAIL_FREE_GB else "warn" if free < WARN_FREE_GB else "ok"
    yield Finding(state, "disk", f"{free:.0f} GB free")


def _locks(root: Path) -> Iterator[Finding]:
    if not leftovers.lock_table_is_whole(root):
        yield Finding("warn", "DVC's locked paths", "cut short by a killed run: the next genworks run mends it")
    stale = leftovers.dead_lockers(root)
    if stale:
        yield Finding("warn", "DVC's locked paths", f"held by processes that are gone ({stale}): DVC will drop them")
    busy = sorted(folder.name for folder in (root / ".work").glob("*") if folder.is_dir() and held(folder))
    yield Finding("ok", "stages at work", ", ".join(busy) or "none")


def _params(root: Path) -> Iterator[Finding]:
    read_yaml(root / "dvc.yaml")
    read_yaml(root / "params.yaml")
    yield Finding("ok", "dvc.yaml, params.yaml", "readable")


def _tracking(root: Path) -> Iterator[Finding]:
    from components.engines.tracking.store import opened, shown, store_of

    store = store_of(root)
    if not _exists(store.tracking):
        yield Finding("ok", "MLflow", f"{shown(store.tracking)} will be made by the first run")
        return
    with opened(store) as client:
        client.search_experiments(max_results=1)
    yield Finding("ok", "MLflow", f"{shown(store.tracking)} answers")


def _champions(root: Path) -> Iterator[Finding]:
    from components.engines.tracking import ledger
    from components.engines.tracking.store import store_of

    if not _exists(store_of(root).registry):
        return
    stages = read_yaml(root / "dvc.yaml").get("stages") or {}
    for system in sorted(name.removesuffix("-register") for name in stages if name.endswith("-register")):
        problems = ledger.verify(root, system)
        detail = "; ".join(problems) if problems else "aliases agree with the ledger"
        yield Finding("fail" if problems else "ok", f"{system} ledger", detail)


def _exists(uri: str) -> bool:
    return not uri.startswith("sqlite:///") or os.path.exists(uri.removeprefix("sqlite:///"))
