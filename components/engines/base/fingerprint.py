"""Code fingerprints: what of the code a stage can see, so that DVC reruns exactly the stages an edit can change.

The `code` stage of dvc.yaml runs this module and writes `data/code/<stage>.json` for every stage. A fingerprint holds
- `modules`: by module, every definition that the stage can reach (reach.py), as a digest of its syntax tree without docstrings,
  comments and layout; `(statements)` stands for what loading the module does, `(imports)` for what its names lead to;
- `files`: digests of data files beside modules that read them;
- `libraries`: the version of every library that those definitions and modules import;
- `external`: a digest of every local file or folder (or the state of a URL) that the stage's params name under `source`,
  `images`, `clips` or `init_from`, since DVC cannot see what only a param points at.

What is declared as watching (watching.py) is not in it. A change that was accepted as harmless (`genworks accept`) is written
as if it had not happened.
"""

from __future__ import annotations

import getpass
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.engines.base.codebase import Codebase, StageCode
from components.engines.base.definitions import PACKAGES
from components.engines.base.digests import Digests
from components.engines.base.errors import UsageError
from components.engines.base.external import UNREACHABLE, external_inputs
from components.engines.base.libraries import version_of
from components.engines.base.params import read_yaml
from components.engines.base.paths import project_root, read_json
from components.engines.base.reach import FUTURE, IMPORTS, STATEMENTS
from components.engines.base.watching import watching
from components.engines.base.work import held

CODE_FOLDER = Path("data/code")
ACCEPTED = "code_accepted.jsonl"
Fingerprint = dict[str, dict[str, Any]]
Changes = dict[str, dict[str, list[str | None]]]
MOST_NAMED = 3  # definitions of one module to which the same happened


def module_of(cmd: str) -> str | None:
    """The project module a stage's command runs: the X of `python -m X`."""
    words = cmd.split()
    for before, word in zip(words, words[1:], strict=False):
        if before == "-m" and word.split(".")[0] in PACKAGES:
            return word
    return None


def stages_of(root: Path) -> dict[str, dict[str, Any]]:
    """The stage blocks of dvc.yaml by name (those that run a module of the project, the `code` stage aside)."""
    stages = read_yaml(root / "dvc.yaml").get("stages") or {}
    return {name: block for name, block in stages.items() if name != "code" and module_of(str(block.get("cmd", "")))}


def current(
    root: Path, digests: Digests | None = None, unknown: dict[str, list[str]] | None = None
) -> dict[str, Fingerprint]:
    """Fingerprints of all stages as the files are now, with accepted changes taken back. Writes nothing but what is remembered
    under `.work/`. `unknown` is filled with what could not be reached, in words, by stage."""
    digests = digests or Digests(root, keep=False)
    return _fingerprints(root, stages_of(root), digests, {} if unknown is None else unknown)


def _written(root: Path, name: str) -> Fingerprint:
    """The fingerprint that the last `code` stage wrote for this stage."""
    path = root / CODE_FOLDER / f"{name}.json"
    try:
        return {"external": {}, **read_json(path)}
    except (FileNotFoundError, ValueError):
        return {"external": {}}


@watching(instead=_written)
def fingerprint_of(root: Path, name: str) -> Fingerprint:
    """One stage's, like `current`. Raises UsageError if dvc.yaml has no such stage."""
    stages = stages_of(root)
    if name not in stages:
        raise UsageError(f"dvc.yaml has no stage '{name}'", where=str(root / "dvc.yaml"), do="add the stage's block")
    return _fingerprints(root, {name: stages[name]}, Digests(root), {})[name]


def _fingerprints(
    root: Path, stages: dict[str, dict[str, Any]], digests: Digests, unknown: dict[str, list[str]]
) -> dict[str, Fingerprint]:
    params = read_yaml(root / "params.yaml")
    accepted = acceptances(root)
    entries = {name: str(module_of(block["cmd"])) for name, block in stages.items()}
    code = Codebase(root).stages([*dict.fromkeys(entries.values())])
    found = {}
    for name, block in stages.items():
        fingerprint = _raw(root, block, params, code[entries[name]], digests)
        for line in accepted:
            if line["stage"] == name:
                _take_back(fingerprint, line["changes"])
        _as_before(root, name, fingerprint, unknown)
        found[name] = fingerprint
    return found


def _as_before(root: Path, name: str, fingerprint: Fingerprint, unknown: dict[str, list[str]]) -> None:
    """A remote that does not answer is taken to be what it was, and named in `unknown`."""
    for key, state in fingerprint["external"].items():
        if state.startswith(UNREACHABLE):
            before = _written(root, name)["external"].get(key)
            told = f"input of {key} cannot be reached ({state.removeprefix(UNREACHABLE)})"
            known = before is not None and not before.startswith(UNREACHABLE)
            unknown.setdefault(name, []).append(
                f"{told}: taken to be as it was" if known else f"{told}: it was never seen"
            )
            fingerprint["external"][key] = before if known and before else state


def _raw(root: Path, block: dict[str, Any], params: dict[str, Any], code: StageCode, digests: Digests) -> Fingerprint:
    """One stage's fingerprint without regard to accepted changes."""
    versions = {library: version_of(library) for library in code["libraries"]}
    return {
        "modules": code["modules"],
        "files": code["files"],
        "libraries": {name: version for name, version in versions.items() if version},
        "external": external_inputs(root, block, params, code["readers"], digests),
    }


def dump(fingerprint: Fingerprint) -> str:
    """As it is written: JSON, a module a line."""
    rows = {
        section: ",\n".join(
            f"{json.dumps(name)}: {json.dumps(fingerprint[section][name], sort_keys=True)}" for name in names
        )
        for section in sorted(fingerprint)
        if (names := sorted(fingerprint[section])) is not None
    }
    return "{" + ",\n".join(f'"{section}": {{\n{text}}}' for section, text in rows.items()) + "}\n"


def _flat(section: dict[str, Any]) -> dict[str, str]:
    """Modules as `module:definition`; a module that was recorded as a whole (before keys were by definition) as itself."""
    flat: dict[str, str] = {}
    for name, value in section.items():
        if isinstance(value, dict):
            flat |= {f"{name}:{label}": digest for label, digest in value.items()}
        else:
            flat[name] = value
    return flat


def _take_back(fingerprint: Fingerprint, changes: Changes) -> None:
    for section, names in changes.items():
        flat = _flat(fingerprint.get(section, {}))
        for name, (old, new) in names.items():
            if flat.get(name) != new:
                continue
            if old is None:
                flat.pop(name, None)
            else:
                flat[name] = old
        nested: dict[str, Any] = {}
        for name, value in sorted(flat.items()):
            module, is_definition, label = name.partition(":")
            if section == "modules" and is_definition:
                nested.setdefault(module, {})[label] = value
            else:
                nested[name] = value
        fingerprint[section] = nested


def differences(old: Fingerprint, new: Fingerprint) -> Changes:
    """What changed between two fingerprints: `{section: {name: [old, new]}}`, None where it was or is absent."""
    changes: Changes = {}
    for section in ("modules", "files", "libraries", "external"):
        before, after = _flat(old.get(section, {})), _flat(new.get(section, {}))
        changed = {
            name: [before.get(name), after.get(name)]
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        }
        if changed:
            changes[section] = changed
    return changes


def describe_changes(changes: Changes) -> list[str]:
    """Differences in words, one change each; what happened to many definitions of a module at once is said once."""
    found = _describe_code(changes.get("modules", {}))
    for name, (old, new) in changes.get("files", {}).items():
        found.append(f"data file {name} {_happened(old, new)}")
    for name, (old, new) in changes.get("libraries", {}).items():
        found.append(f"library {name}: {old} → {new}" if old and new else f"library {name} {_happened(old, new)}")
    for name, (old, new) in changes.get("external", {}).items():
        found.append(f"input of {name} {_happened(old, new)}")
    return found


def _happened(old: str | None, new: str | None) -> str:
    return "is new" if old is None else "is gone" if new is None else "changed"


def _describe_code(names: dict[str, list[str | None]]) -> list[str]:
    if any(":" not in name for name in names):
        return ["its code was recorded by module, keys are by definition now (docs/keys.md)"]
    words = {IMPORTS: "imports of {}", STATEMENTS: "statements of {}", FUTURE: "`__future__` imports of {}"}
    groups: dict[tuple[str, str], list[str]] = {}
    for name, (old, new) in names.items():
        module, _, label = name.partition(":")
        verb = "reached now" if old is None else "no longer reached" if new is None else "changed"
        groups.setdefault((module, verb), []).append(words.get(label, f"definition {{}}.{label}").format(module))
    found = []
    for (module, verb), told in groups.items():
        if len(told) > MOST_NAMED:
            found.append(f"{len(told)} definitions of {module}: {verb}")
        else:
            is_verb = {one: "is" if one.startswith("definition ") else "are" for one in told}
            found += [f"{one} {verb}" if verb == "changed" else f"{one} {is_verb[one]} {verb}" for one in told]
    return found


def acceptances(root: Path, stage: str | None = None) -> list[dict[str, Any]]:
    """The accepted changes, oldest first: `{stage, changes, who, when, why}`."""
    path = root / ACCEPTED
    if not path.exists():
        return []
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            raise UsageError("A line is not JSON", where=f"{path}:{number}", do="restore the file from git") from None
    return [line for line in lines if stage in (None, line["stage"])]


def record_acceptance(
    root: Path, stage: str, old: Fingerprint, new: Fingerprint, *, why: str, who: str | None = None
) -> dict[str, Any]:
    """Append the decision that the change old -> new is harmless for `stage`. Raises UsageError if nothing changed."""
    changes = differences(old, new)
    if not changes:
        raise UsageError(f"Nothing to accept: the code of {stage} has not changed since it last ran")
    line = {
        "stage": stage,
        "changes": changes,
        "who": who or getpass.getuser(),
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "why": why,
    }
    with (root / ACCEPTED).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return line


def write_all(root: Path) -> list[str]:
    """Write `data/code/<stage>.json` for every stage and remove those of stages that are gone; returns the names that changed.

    The file of a stage that runs now is left alone: DVC records it when the stage ends, and what ran is the code it
    started with.
    """
    folder = root / CODE_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    fingerprints = current(root, Digests(root))
    for path in folder.glob("*.json"):
        if path.stem not in fingerprints:
            path.unlink()
            changed.append(path.stem)
    for name, fingerprint in fingerprints.items():
        path = folder / f"{name}.json"
        text = dump(fingerprint)
        same = path.exists() and path.read_text(encoding="utf-8") == text
        if same or (path.exists() and held(root / ".work" / name)):
            continue
        path.unlink(missing_ok=True)  # DVC may have linked it from its cache, which must not be written through
        path.write_text(text, encoding="utf-8")
        changed.append(name)
    return changed


if __name__ == "__main__":
    from components.engines.base.errors import GenworksError

    try:
        write_all(project_root())
    except GenworksError as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(problem.exit_code)
