"""dvc.yaml as a graph, what would run and why. Nothing else knows DVC's API or the format of its files.

Reading only: planning writes nothing, so that `genworks plan` may be called at any time, also while stages run. Code
fingerprints are computed in memory and compared with those a stage's lock entry stands on.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.engines.base import fingerprint
from components.engines.base.errors import GenworksError, UsageError
from flows.param_changes import is_params, param_changes, read_params

if TYPE_CHECKING:
    from dvc.dependency.base import Dependency
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

CODE_STAGE, NEVER_RUN = "code", "never run"


@dataclass(frozen=True)
class Stage:
    """One block of dvc.yaml. `upstream` are the stages whose outputs it reads (the `code` stage aside)."""

    name: str
    cmd: str
    upstream: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[Path, ...]
    metrics: tuple[Path, ...]

    @property
    def system(self) -> str:
        return self.name.split("-", 1)[0]

    @property
    def short(self) -> str:
        """The name without its system."""
        return self.name.split("-", 1)[-1]


@dataclass(frozen=True)
class StagePlan:
    """Whether a stage would run, and every reason for it. `restore`: only outputs are missing, and the cache has them.
    `unknown`: inputs that cannot be reached, so that nobody knows whether they changed."""

    stage: str
    run: bool
    reasons: list[str] = field(default_factory=list)
    restore: bool = False
    unknown: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        told = {"stage": self.stage, "run": self.run, "reasons": self.reasons}
        return told | ({"unknown": self.unknown} if self.unknown else {})


class Dag:
    """The stages of a project in topological order. Holds DVC's view of dvc.yaml and dvc.lock as they were when read."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def _repo(self) -> Repo:
        return _open(self.root)

    @cached_property
    def _blocks(self) -> dict[str, PipelineStage]:
        """DVC's stage objects by name."""
        try:
            return {stage.name: stage for stage in self._repo.index.stages if getattr(stage, "name", None)}
        except Exception as error:
            raise _explained(error, self.root) from error

    @cached_property
    def _params(self) -> dict[str, dict[str, Any]]:
        """Values of all params that stages depend on, by file."""
        return read_params(dep for block in self._blocks.values() for dep in block.deps)

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """Every stage but `code`, upstream first; stages of equal rank keep the order of dvc.yaml."""
        producers = {out.fs_path: name for name, block in self._blocks.items() for out in block.outs}
        found = {}
        for name, block in self._blocks.items():
            if name != CODE_STAGE:
                upstream = {producer for dep in block.deps for producer in _producers(dep.fs_path, producers)}
                found[name] = Stage(
                    name=name,
                    cmd=str(block.cmd),
                    upstream=tuple(sorted(upstream - {CODE_STAGE, name})),
                    params=tuple(str(key) for dep in block.deps if is_params(dep) for key in dep.params),
                    outs=tuple(Path(out.def_path) for out in block.outs),
                    metrics=tuple(Path(out.def_path) for out in block.outs if out.metric),
                )
        return _sorted(found)

    @cached_property
    def systems(self) -> dict[str, list[str]]:
        """Stage names by system, in running order."""
        found: dict[str, list[str]] = {}
        for stage in self.stages.values():
            found.setdefault(stage.system, []).append(stage.name)
        return found

    def upstream_of(self, names: list[str]) -> set[str]:
        """These stages and everything they stand on."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self.stages[name].upstream)
        return found

    def resolve(self, stage: str, systems: list[str] | None = None) -> str:
        """The full name of a stage given in full or, where that is unambiguous, without its system."""
        if stage in self.stages:
            return stage
        candidates = [name for name in self.stages if self.stages[name].short == stage]
        if systems:
            candidates = [name for name in candidates if self.stages[name].system in systems]
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise UsageError(f"Several stages are called '{stage}'", do=f"name one of {', '.join(candidates)}")
        raise UsageError(f"No stage is called '{stage}'", where=str(self.root / "dvc.yaml"), do=self._hint(stage))

    def _hint(self, stage: str) -> str:
        known = {name: name for name in self.stages} | {s.short: s.name for s in self.stages.values()}
        close = difflib.get_close_matches(stage, known, n=1, cutoff=0.5)
        return f"did you mean {known[close[0]]}?" if close else "genworks list shows all stages"

    def select(self, systems: list[str], until: str | None = None) -> list[str]:
        """Names of the stages a run of these systems concerns, in running order, what they stand on included."""
        unknown = [system for system in systems if system not in self.systems]
        if unknown:
            close = difflib.get_close_matches(unknown[0], self.systems, n=1, cutoff=0.4)
            known = ", ".join(self.systems) or "none yet"
            hint = f"did you mean {close[0]}? " if close else ""
            raise UsageError(
                f"No system is called '{unknown[0]}'",
                where=str(self.root / "dvc.yaml"),
                do=f"{hint}known systems: {known}",
            )
        if until is not None:
            targets = [self.resolve(until, systems)]
        else:
            targets = [name for system in systems for name in self.systems[system]]
        wanted = self.upstream_of(targets)
        return [name for name in self.stages if name in wanted]

    def plan(self, systems: list[str], until: str | None = None, *, force: bool = False) -> list[StagePlan]:
        """What `run` would do with these systems, stage by stage in running order. Writes nothing."""
        selected = self.select(systems, until)
        try:
            return self._plan(selected, force)
        except GenworksError:
            raise
        except Exception as error:
            raise _explained(error, self.root) from error

    def _plan(self, selected: list[str], force: bool) -> list[StagePlan]:
        unknown: dict[str, list[str]] = {}
        now = fingerprint.current(self.root, unknown=unknown)
        plans: dict[str, StagePlan] = {}
        for name in selected:
            reasons = ["forced"] if force else []
            reasons += self._changes(name, now.get(name), plans)
            missing = self._missing_outputs(name)
            restore = bool(missing) and not reasons and all(cached for _, cached in missing)
            reasons += [
                f"output {path} is missing" + (" (the cache has it: restored without running)" if restore else "")
                for path, _ in missing
            ]
            plans[name] = StagePlan(name, bool(reasons), reasons, restore, unknown.get(name, []))
        return list(plans.values())

    def _changes(self, name: str, now: fingerprint.Fingerprint | None, plans: dict[str, StagePlan]) -> list[str]:
        """Reasons to run that do not come from the stage's own outputs being gone."""
        block = self._blocks[name]
        rerunning = [up for up in self.stages[name].upstream if up in plans and plans[up].run and not plans[up].restore]
        reasons = [f"upstream {up} will run" for up in rerunning]
        if not block.md5 and not any(dep.hash_info for dep in block.deps):
            return [NEVER_RUN, *reasons]
        if block.cmd_changed:
            reasons.append("its command changed")
        replaced = {
            path for up in self.stages[name].upstream if up in plans and plans[up].run for path in self.stages[up].outs
        }
        for dep in block.deps:
            reasons += self._dependency_changes(dep, now, replaced)
        for out in block.outs:
            if out.exists and out.workspace_status():
                reasons.append(f"output {out.def_path} was changed by hand")
        return reasons

    def _dependency_changes(
        self, dep: Dependency, now: fingerprint.Fingerprint | None, replaced: set[Path]
    ) -> list[str]:
        if is_params(dep):
            return param_changes(dep, self._params[dep.fs_path])
        path = Path(dep.def_path)
        if path.parent == fingerprint.CODE_FOLDER and now is not None:
            return self._code_changes(dep, now)
        if any(path == out or out in path.parents or path in out.parents for out in replaced):
            return []  # its producer runs or restores it first, and says so
        return [f"{path} {_STATES.get(state, state)}" for state in dep.workspace_status().values()]

    def _code_changes(self, dep: Dependency, now: fingerprint.Fingerprint) -> list[str]:
        text = fingerprint.dump(now)
        recorded = dep.hash_info.value if dep.hash_info else None
        if recorded == hashlib.md5(text.encode(), usedforsecurity=False).hexdigest():
            return []
        if recorded is None:
            return ["its code was never recorded"]
        before = self.cached_json(recorded)
        if before is None:
            return ["its code changed (which part, the DVC cache no longer tells)"]
        return fingerprint.describe_changes(fingerprint.differences(before, now))

    def cached_json(self, md5: str) -> Any:
        """A JSON file by its md5, None if the cache does not hold it."""
        path = Path(self._repo.cache.local.oid_to_path(md5))
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def recorded_fingerprint(self, name: str) -> fingerprint.Fingerprint | None:
        """The code a stage's recorded outputs were made by. None if it never ran; StageError if the cache lost it."""
        for dep in self._blocks[name].deps:
            if Path(dep.def_path).parent == fingerprint.CODE_FOLDER and dep.hash_info:
                found = self.cached_json(dep.hash_info.value)
                if found is None:
                    raise GenworksError(
                        f"The fingerprint {name} last ran with is no longer in the DVC cache",
                        where=dep.def_path,
                        do="dvc fetch it from a remote, or run the stage again",
                    )
                return found
        return None

    def _missing_outputs(self, name: str) -> list[tuple[Path, bool]]:
        """Outputs that are not in the workspace, and whether the cache could give each back."""
        missing = []
        for out in self._blocks[name].outs:
            if not out.exists:
                missing.append((Path(out.def_path), bool(out.use_cache and out.hash_info and _in_cache(out))))
        return missing

    def close(self) -> None:
        self._repo.close()


_STATES = {"modified": "changed", "deleted": "is missing", "new": "was never recorded", "not in cache": "is not cached"}


def _open(root: Path) -> Repo:
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    _quiet()
    try:
        return Repo(str(root))
    except NotDvcRepoError:
        raise UsageError("DVC is not set up in this project", where=str(root), do="run `dvc init` there") from None
    except Exception as error:
        raise _explained(error, root) from error


def _quiet() -> None:
    logging.getLogger("dvc").setLevel(logging.ERROR)


def _explained(error: Exception, root: Path) -> GenworksError:
    """DVC's own errors as usage errors (a bad dvc.yaml); any other error is a bug and stays as it is."""
    from dvc.exceptions import DvcException

    if not isinstance(error, DvcException):
        raise error
    cause = error.__cause__ or error
    said = " ".join(dict.fromkeys(" ".join(str(e).split()) for e in (error, cause)))
    said = said.replace('in "<unicode string>", ', "")
    file = next((name for name in ("params.yaml", "dvc.lock") if name in said), "dvc.yaml")
    advice = "genworks run mends it, and says how" if file == "dvc.lock" else "correct that file"
    return UsageError(f"DVC cannot read the project: {said}", where=str(root / file), do=advice)


def _producers(path: str, producers: dict[str, str]) -> list[str]:
    """Stages that make this path: the same path, a folder above it, or something inside it."""
    if path in producers:
        return [producers[path]]
    return [stage for out, stage in producers.items() if path.startswith(f"{out}/") or out.startswith(f"{path}/")]


def _sorted(stages: dict[str, Stage]) -> dict[str, Stage]:
    """Upstream first, otherwise as listed."""
    done: dict[str, Stage] = {}

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise UsageError(
                f"dvc.yaml has a cycle: {' → '.join([*above, name])}", do="remove one of these dependencies"
            )
        if name not in done:
            for up in stages[name].upstream:
                visit(up, (*above, name))
            done[name] = stages[name]

    for name in stages:
        visit(name, ())
    return done


def _in_cache(out: Output) -> bool:
    return not out.changed_cache()


def load(root: Path) -> Dag:
    return Dag(root)


def plan(root: Path, systems: list[str], until: str | None = None, force: bool = False) -> list[StagePlan]:
    """What would run and why: see `Dag.plan`."""
    return load(root).plan(systems, until, force=force)


def why(root: Path, stage: str) -> StagePlan:
    """The plan of one stage, in the light of everything upstream of it."""
    dag = load(root)
    name = dag.resolve(stage)
    return dag.plan([dag.stages[name].system], name)[-1]
