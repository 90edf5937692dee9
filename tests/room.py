"""The stages of a system called by name, as the stage runner calls them: paths as in dvc.yaml, but below a test's own folder."""

from __future__ import annotations

import importlib
import inspect
import typing
from functools import cache
from pathlib import Path

from components.engines.base.block import Section, block_of
from components.engines.base.evidence import evidence_path
from components.engines.base.params import Params
from components.engines.base.paths import publish, read_json, temporary_sibling
from components.engines.base.stage import StageContext, _call

REPOSITORY = Path(__file__).resolve().parents[1]
block = cache(block_of)


class Room:
    """`Room("clip", root, architecture=SMALL).run("train", training=TRAINING)`.

    `sections` hold params by the names that params.yaml has for them: a model, or what differs from its defaults. What lies
    not below `root` is read where `base` has it.
    """

    def __init__(self, system: str, root: Path, base: Room | None = None, **sections):
        self.system, self.root, self.base, self.sections = system, root, base, sections
        self.data, self.reports = root / "data" / system, root / "reports" / system

    def at(self, path: str | Path) -> Path:
        """Where a path of the project is: here, or in the base."""
        here = self.root / path
        return self.base.at(path) if self.base and not here.exists() else here

    def context(self, stage: str) -> StageContext:
        work = self.root / "work" / stage
        work.mkdir(parents=True, exist_ok=True)
        store = self.base.root if self.base else self.root  # one MLflow store for all that stand on one base
        return StageContext(self.system, stage, "key", work, store, {}, {})

    def run(self, stage: str, **given) -> dict[str, Path]:
        """Run a stage with its section, changed by `given`: fields of its own params, inputs by name. Returns its outputs."""
        function = getattr(importlib.import_module(f"components.{self.system}.{stage}"), stage)
        outputs = {name: self.root / path for name, path in block(REPOSITORY, f"{self.system}-{stage}").outputs.items()}
        partials = {name: temporary_sibling(path) for name, path in outputs.items()}
        evidence = evidence_path(self.root, self.system, stage)
        _call(function, *self._given(function, stage, given), partials, evidence)
        for name, path in outputs.items():
            publish(partials[name], path)
        return outputs

    def run_all(self, *stages: str) -> Room:
        for stage in stages:
            self.run(stage)
        return self

    def evaluate(self, **given) -> dict:
        return read_json(self.run("evaluate", **given)["metrics"])

    def task(self, build, stage: str, **given):
        """What `build` makes of the stage's params and inputs: a training task."""
        sections, _, inputs = self._given(build, stage, given)
        known = {name: section.params for name, section in sections.items()} | inputs
        return build(**{name: known[name] for name in inspect.signature(build).parameters})

    def _given(self, function, stage, given):
        found = block(REPOSITORY, f"{self.system}-{stage}").inputs
        inputs = {name: given.pop(name, None) or self.at(path) for name, path in found.items()}
        kinds = {
            argument: kind
            for argument, kind in typing.get_type_hints(function).items()
            if isinstance(kind, type) and issubclass(kind, Params)
        }
        sections = {}
        for argument, kind in kinds.items():
            name = stage if argument == "params" else argument
            changes = given if argument == "params" else {}
            value = self.sections.get(name, {})
            params = value if isinstance(value, kind) and not changes else kind(**dict(value) | changes)
            sections[argument] = Section(f"{self.system}.{name}", {}, params)
        assert "params" in kinds or not given, f"{stage} has no params for {given}"
        return sections, self.context(stage), inputs
