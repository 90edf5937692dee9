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
from components.engines.base.explanations import explain
from components.engines.base.params import read_yaml
from components.engines.base.paths import project_root
from components.engines.base.work import held
from components.engines.tracking.addresses import exists, shown
from flows import conditions, leftovers, servers, standing, sweeping
from flows.child import LONGEST_RAY_TMPDIR
from flows.database import damage
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
        ("conditions", _conditions),
        ("locks", _locks),
        ("leftovers", _leftovers),
        ("params", _params),
        ("databases", _databases),
        ("Prefect", _prefect),
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
    except GenworksError as error:
        return [Finding("fail", what, str(error))]
    except Exception as error:  # whatever it is, the other checks go on
        return [Finding("fail", what, f"cannot be looked at: {explain(error)}")]


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
    stale = leftovers.gone_lockers(root)
    if stale:
        yield Finding(
            "warn", "DVC's locked paths", f"held by processes that are gone ({stale}): the next genworks run frees them"
        )
    busy = sorted(folder.name for folder in (root / ".work").glob("*") if folder.is_dir() and held(folder))
    yield Finding("ok", "stages at work", ", ".join(busy) or "none")


def _conditions(root: Path) -> Iterator[Finding]:
    found = list(conditions.obstacles(root))
    for obstacle in found:
        yield Finding("fail", "a run's conditions", str(obstacle))
    if not found:
        yield Finding("ok", "a run's conditions", "owner, path, commit, temporary folder")
    folder = os.environ.get("TMPDIR", "")
    if len(os.fsencode(folder)) > LONGEST_RAY_TMPDIR and "RAY_TMPDIR" not in os.environ:
        yield Finding("warn", "TMPDIR", f"too long for Ray's sockets, which go to /tmp instead: {folder}")
    proxies = [name for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy") if os.environ.get(name)]
    if proxies:
        yield Finding("ok", "proxy", f"{', '.join(proxies)}: 127.0.0.1 and localhost are reached directly")


def _leftovers(root: Path) -> Iterator[Finding]:
    found = [str(path.relative_to(root)) for path in sweeping.leftovers(root)]
    detail = f"{', '.join(found)}: the next genworks run removes them" if found else "none"
    yield Finding("warn" if found else "ok", "left by killed runs", detail)


def _databases(root: Path) -> Iterator[Finding]:
    for what, path in (("Prefect", servers.prefect_database(root)), ("MLflow", root / "mlflow.db")):
        broken = damage(path)
        if broken is not None:
            do = (
                "the next genworks run sets it aside"
                if what == "Prefect"
                else "restore it from a backup, or move it away"
            )
            yield Finding("fail", f"{what}'s database", f"{path} is damaged ({broken}): {do}")


def _prefect(root: Path) -> Iterator[Finding]:
    url, up = os.environ.get("PREFECT_API_URL"), standing.standing(root)
    if url:
        there = servers.replies(f"{url.rstrip('/')}/health")
        detail = "answers" if there else "does not answer: start it, or unset PREFECT_API_URL"
        yield Finding("ok" if there else "fail", "Prefect", f"PREFECT_API_URL {shown(url)} {detail}")
    elif up is not None:
        there = servers.replies(f"{up.prefect_api}/health")
        yield Finding(
            "ok" if there else "fail",
            "Prefect",
            f"genworks up: {up.prefect_api} " + ("answers" if there else "is silent"),
        )


def _params(root: Path) -> Iterator[Finding]:
    document = read_yaml(root / "params.yaml")
    odd = [
        name for name in [*document, *(read_yaml(root / "dvc.yaml").get("stages") or {})] if not isinstance(name, str)
    ]
    if odd:
        yield Finding(
            "fail", "dvc.yaml, params.yaml", f"keys that are no text: {', '.join(map(repr, odd))}: quote them"
        )
    else:
        yield Finding("ok", "dvc.yaml, params.yaml", "readable")


def _tracking(root: Path) -> Iterator[Finding]:
    from components.engines.tracking.abandoned import open_runs
    from components.engines.tracking.scratch import forgotten
    from components.engines.tracking.store import opened, store_of

    store = store_of(root)
    if not exists(store.tracking):
        yield Finding("ok", "MLflow", f"{shown(store.tracking)} will be made by the first run")
        return
    with opened(store) as client:
        client.search_experiments(max_results=1)
    yield Finding("ok", "MLflow", f"{shown(store.tracking)} answers")
    for name, what in open_runs(store):
        yield Finding("warn", f"run {name}", what)
    for folder in forgotten(root):
        yield Finding(
            "warn", "scratch", f"{folder} was left by a killed process: the next command that needs scratch removes it"
        )


def _champions(root: Path) -> Iterator[Finding]:
    from components.engines.tracking import ledger
    from components.engines.tracking.store import store_of
    from components.engines.tracking.stored import damaged_versions

    if not exists(store_of(root).registry):
        return
    stages = [str(name) for name in read_yaml(root / "dvc.yaml").get("stages") or {}]
    for system in sorted(name.removesuffix("-register") for name in stages if name.endswith("-register")):
        problems = ledger.verify(root, system)
        detail = "; ".join(problems) if problems else "aliases agree with the ledger"
        yield Finding("fail" if problems else "ok", f"{system} ledger", detail)
        for found, problem in damaged_versions(root, system):
            again = f"dvc repro --force --single-item {system}-register makes it whole"
            yield Finding("fail", found.label, f"{problem}: {again}")
