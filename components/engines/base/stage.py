"""The stage runner: turns a plain function into `python -m components.<system>.<stage>`.

A stage is a function named like its module. The runner reads the stage's block in dvc.yaml and its sections in params.yaml
and calls the function by keyword:

- an argument annotated with a `Params` model gets that section: `params` the stage's own (`<system>.<stage>`), any other
  name a section shared by several stages (`<system>.<name>`);
- an argument annotated `Path` gets the dependency or output of that name: the last path part without suffix (`metrics`), or
  with it where two paths of the stage share the rest (`scores_json`, `scores_jsonl`), or behind its folder where they share
  all of it (`clip_model`, `image_captioning_model`);
- `context: StageContext` gets who is running: system, stage, key, work folder.

Outputs are temporary siblings that appear under their names when the function returns. Everything else a stage needs to
be safe (one owner, no orphans, no half output, one clear error) is here, so rooms do not repeat it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import logging
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.engines.base.allocator import keep_freed_memory
from components.engines.base.block import Block, Section, block_of, sections_of
from components.engines.base.digests import Digests
from components.engines.base.errors import GenworksError, StageError, Stopped, UsageError
from components.engines.base.evidence import evidence_path, keep_evidence
from components.engines.base.explanations import explain
from components.engines.base.fingerprint import CODE_FOLDER, Fingerprint, describe_changes, differences, fingerprint_of
from components.engines.base.hub import with_checkpoints
from components.engines.base.loopback import reach_directly
from components.engines.base.paths import (
    digest_value,
    project_root,
    publish,
    read_json,
    remove,
    temporary_sibling,
    write_json,
)
from components.engines.base.probe import Probed, probing
from components.engines.base.work import WorkLock, die_with_parent, prune

log = logging.getLogger("genworks")

# Libraries that warn, wherever they are imported, of kernels for accelerators or of packages that are not here.
_CHATTERING = ("torchao", "torch.utils._pytree", "diffusers.quantizers", "transformers.utils.import_utils")


@dataclass(frozen=True)
class StageContext:
    """Who is running: handed to stages that track runs or keep unfinished work."""

    system: str
    stage: str  # without the system: `finetune`
    key: str  # digest of inputs, params (but operational ones) and code: equal keys give equal outputs
    work: Path  # unfinished work of this key, kept when the stage is killed
    root: Path
    params: dict[str, Any]  # every section the stage was given, by dotted key, defaults included
    inputs: dict[str, Path]

    @property
    def name(self) -> str:
        return f"{self.system}-{self.stage}"


def main(function: Callable[..., None]) -> None:
    """Run a stage function as a command and exit. Call it at the bottom of the stage's module."""
    # Threads that wait for each other by spinning make a step ten times slower as soon as something else wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()
    reach_directly()
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # a bar for every file loaded says nothing of the stage
    function = _as_imported(function)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_for_users)
    log.setLevel(logging.INFO)
    for name in _CHATTERING:
        logging.getLogger(name).setLevel(logging.ERROR)
    arguments = _parser(function).parse_args()
    debug = arguments.debug or bool(os.environ.get("GENWORKS_DEBUG"))
    sys.exit(_run_reporting(function, arguments, debug))


def _is_for_users(record: logging.LogRecord) -> bool:
    """Of what libraries say only warnings: some set the level of their own loggers lower (Great Expectations)."""
    return record.levelno >= logging.WARNING or record.name == log.name


def _parser(function: Callable[..., None]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=inspect.getdoc(function), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    detached = parser.add_argument_group("run outside the DAG, with other inputs, publishing nothing there")
    detached.add_argument("--input", action="append", default=[], metavar="NAME=PATH", help="replace an input")
    detached.add_argument("--outputs", type=Path, metavar="FOLDER", help="write all outputs below this folder")
    detached.add_argument(
        "--probe", type=Path, metavar="FILE", help="train a few steps, write to FILE what they took, and stop"
    )
    return parser


def _run_reporting(function: Callable[..., None], arguments: argparse.Namespace, debug: bool) -> int:
    """Run, and turn every failure into one paragraph, an exit code and `outcome.json` for the flow to read."""
    system, stage = _identity(function)
    work: Path | None = None
    try:
        root = project_root()
        work = root / ".work" / f"{system}-{stage}"
        replaced = _replacements(arguments)
        if arguments.outputs is None:
            _run_in_dag(function, root, system, stage)
        elif arguments.probe is not None:
            with probing(arguments.probe.resolve()), contextlib.suppress(Probed):
                _run_detached(function, root, system, stage, replaced, arguments.outputs)
        else:
            _run_detached(function, root, system, stage, replaced, arguments.outputs)
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        return Stopped.exit_code
    except Exception as error:
        failure = explain(error)
        if debug:
            traceback.print_exc()
        print(f"error: {failure}", file=sys.stderr, flush=True)
        if work is not None and arguments.outputs is None:
            _note_outcome(work, failure)
        return failure.exit_code


def _as_imported(function: Callable[..., None]) -> Callable[..., None]:
    """The same function from the module under its own name: what it defines can then travel to Ray workers."""
    spec = sys.modules["__main__"].__spec__
    if function.__module__ != "__main__":
        return function
    if spec is None:
        raise SystemExit("error: run stages as modules: python -m components.<system>.<stage>")
    return getattr(importlib.import_module(spec.name), function.__name__)


def _identity(function: Callable[..., None]) -> tuple[str, str]:
    """System and stage from the module's name."""
    _, system, stage = function.__module__.rsplit(".", 2)
    return system, stage


def _replacements(arguments: argparse.Namespace) -> dict[str, Path]:
    replaced = {}
    for text in arguments.input:
        name, equals, path = text.partition("=")
        if not equals:
            raise UsageError(f"--input wants NAME=PATH, not '{text}'")
        replaced[name] = Path(path).resolve()
    if (replaced or arguments.probe) and arguments.outputs is None:
        option = "--input" if replaced else "--probe"
        raise UsageError(f"{option} needs --outputs", do="name a folder for the outputs of a run outside the DAG")
    return replaced


def _note_outcome(work: Path, failure: GenworksError) -> None:
    try:
        write_json(work / "outcome.json", {"exit_code": failure.exit_code, "message": str(failure)})
    except OSError:
        log.warning("could not write %s", work / "outcome.json")  # a full disk must not hide the failure itself


def _run_in_dag(function: Callable[..., None], root: Path, system: str, stage: str) -> None:
    name = f"{system}-{stage}"
    if os.environ.get("DVC_STAGE"):
        die_with_parent()
    with WorkLock(root / ".work" / name) as lock:
        remove(root / ".work" / name / "outcome.json")
        evidence = evidence_path(root, system, stage)
        remove(evidence)  # so that what lies there always belongs to the stage's last run
        block = block_of(root, name)
        sections = sections_of(function, root, system, stage, block)
        inputs = {name: root / path for name, path in block.inputs.items()}
        outputs = {name: root / path for name, path in block.outputs.items()}
        _require(inputs)
        code = fingerprint_of(root, name)
        _refuse_unrecorded_code(root, name, code)
        context = _context(root, system, stage, sections, inputs, code)
        prune(context.work.parent, context.work.name)
        context.work.mkdir(parents=True, exist_ok=True)
        partials = {out: temporary_sibling(path) for out, path in outputs.items()}
        _call(function, sections, context, inputs, partials, evidence)
        lock.check()
        _refuse_changed_params(function, root, system, stage, block, sections)
        _refuse_changed_code(root, name, code)
        for out, path in outputs.items():
            publish(partials[out], path)
            Digests(root).enter(path)
        remove(context.work)


def _run_detached(
    function: Callable[..., None], root: Path, system: str, stage: str, replaced: dict[str, Path], folder: Path
) -> None:
    block = block_of(root, f"{system}-{stage}")
    unknown = replaced.keys() - block.inputs.keys()
    if unknown:
        raise UsageError(f"No input called {sorted(unknown)}", do=f"use one of {sorted(block.inputs)}")
    sections = sections_of(function, root, system, stage, block)
    inputs = {name: root / path for name, path in block.inputs.items()} | replaced
    _require(inputs)
    outputs = {name: folder.resolve() / path.name for name, path in block.outputs.items()}
    name = f"{system}-{stage}"
    code = fingerprint_of(root, name)
    context = _context(root, system, stage, sections, inputs, code, work_root=folder.resolve() / ".work")
    context.work.mkdir(parents=True, exist_ok=True)
    partials = {out: temporary_sibling(path) for out, path in outputs.items()}
    evidence = evidence_path(folder.resolve(), system, stage)
    remove(evidence)
    _call(function, sections, context, inputs, partials, evidence)
    _refuse_changed_code(root, name, code)
    for out, path in outputs.items():
        publish(partials[out], path)
    remove(folder / ".work")


def _require(inputs: dict[str, Path]) -> None:
    for name, path in inputs.items():
        if not path.exists():
            raise UsageError(
                f"Input '{name}' does not exist", where=str(path), do="run the stage that makes it: genworks run SYSTEM"
            )


def _context(
    root: Path,
    system: str,
    stage: str,
    sections: dict[str, Section],
    inputs: dict[str, Path],
    code: Fingerprint,
    work_root: Path | None = None,
) -> StageContext:
    remembered = Digests(root)
    digests = {name: remembered.of(path) for name, path in sorted(inputs.items())}
    identity = {section.key: section.params.identity() for section in sections.values()}
    key = digest_value([identity, digests, code])[:20]
    work = (work_root or root / ".work") / f"{system}-{stage}" / key
    params = {section.key: section.params.model_dump(mode="json") for section in sections.values()}
    return StageContext(system, stage, key, work, root, params, inputs)


def _call(
    function: Callable[..., None],
    sections: dict[str, Section],
    context: StageContext,
    inputs: dict[str, Path],
    partials: dict[str, Path],
    evidence: Path,
) -> None:
    """Call the stage with what its signature asks for; afterwards every output must exist. Of a failure `evidence` stays."""
    paths = inputs | partials
    wanted = inspect.signature(function).parameters
    given: dict[str, Any] = {}
    for name in wanted:
        if name == "context":
            given[name] = context
        elif name in sections:
            given[name] = with_checkpoints(sections[name].params, sections[name].key, context.root)
        elif name in paths:
            given[name] = paths[name]
        else:
            raise UsageError(f"{function.__name__}() wants '{name}', which is no path of its stage", where="dvc.yaml")
    unused = paths.keys() - wanted.keys()
    if unused:
        raise UsageError(f"{function.__name__}() ignores {sorted(unused)} of its stage", where="dvc.yaml")
    for partial in partials.values():
        partial.parent.mkdir(parents=True, exist_ok=True)
        remove(partial)
    try:
        function(**given)
        missing = [name for name, partial in partials.items() if not partial.exists()]
        if missing:
            raise StageError(f"{function.__name__}() did not write {missing}", do="report this: it is a bug")
    except BaseException as failure:
        keep_evidence(failure, evidence)
        for partial in partials.values():
            remove(partial)
        raise


def _refuse_changed_params(
    function: Callable[..., None], root: Path, system: str, stage: str, block: Block, before: dict[str, Section]
) -> None:
    """DVC records the params as they are when the stage ends; outputs of other values must not pass for theirs."""
    now = sections_of(function, root, system, stage, block)
    changed = [section.key for argument, section in before.items() if now[argument].raw != section.raw]
    if changed:
        raise StageError(
            f"Params {', '.join(changed)} were edited while the stage ran, so its outputs do not belong to them",
            where=str(root / "params.yaml"),
            do="run again; to get the finished work instead, put the old values back (it is kept under .work/)",
        )


def _refuse_unrecorded_code(root: Path, name: str, now: Fingerprint) -> None:
    """DVC will record the fingerprint that the `code` stage wrote: other code must not run under it."""
    path = root / CODE_FOLDER / f"{name}.json"
    if "DVC_STAGE" not in os.environ or not path.exists():
        return
    changed = describe_changes(differences(read_json(path), now))
    if changed:
        raise StageError(
            f"The code of {name} was edited after this run took its fingerprint ({', '.join(changed)})",
            where=str(path),
            do="run again: genworks run and dvc repro take fingerprints first",
        )


def _refuse_changed_code(root: Path, name: str, before: Fingerprint) -> None:
    """The same at the end: a module may have been loaded after it was edited, a source read after it was replaced."""
    changed = describe_changes(differences(before, fingerprint_of(root, name)))
    if changed:
        raise StageError(
            f"What {name} runs or reads was edited while it ran ({', '.join(changed)}), so its outputs belong to neither version",
            where=str(root),
            do="run again; to get the finished work instead, take the edit back first (it is kept under .work/)",
        )
