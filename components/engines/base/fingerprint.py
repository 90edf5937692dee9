"""Code fingerprints: what of the code a stage can see, so that DVC reruns exactly the stages an edit can change.

The `code` stage of dvc.yaml runs this module and writes `data/code/<stage>.json` for every stage. A fingerprint holds
- `modules`: every module of the project in the import closure, each as a digest of its AST without docstrings (comments and
  layout are no part of an AST);
- `libraries`: the version of every library those modules import;
- `external`: a digest of every local file or folder (or the state of a URL) that the stage's params name under `source`,
  `images` or `init_from`, since DVC cannot see what only a param points at.

A change that was accepted as harmless (`genworks accept`) is written as if it had not happened.
"""

from __future__ import annotations

import ast
import getpass
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError
from components.engines.base.params import read_yaml
from components.engines.base.paths import digest_path, digest_value, dump_json, project_root
from components.engines.base.work import held

CODE_FOLDER = Path("data/code")
ACCEPTED = "code_accepted.jsonl"
EXTERNAL_KEYS = ("source", "images", "init_from")
PACKAGES = ("components", "flows")
Fingerprint = dict[str, dict[str, str]]

# Import names whose distribution is called otherwise and which our code imports.
_DISTRIBUTIONS = {"yaml": "PyYAML", "PIL": "pillow", "sklearn": "scikit-learn", "faiss": "faiss-cpu"}


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


def current(root: Path) -> dict[str, Fingerprint]:
    """Fingerprints of all stages as the files are now, with accepted changes taken back. Writes nothing."""
    params = read_yaml(root / "params.yaml")
    accepted = acceptances(root)
    found = {}
    for name, block in stages_of(root).items():
        fingerprint = raw_fingerprint(root, block, params)
        for line in accepted:
            if line["stage"] == name:
                _take_back(fingerprint, line["changes"])
        found[name] = fingerprint
    return found


def raw_fingerprint(root: Path, block: dict[str, Any], params: dict[str, Any]) -> Fingerprint:
    """One stage's fingerprint without regard to accepted changes."""
    module = module_of(block["cmd"])
    assert module is not None
    files = closure(module, root)
    libraries: set[str] = set()
    digests = {}
    for name, path in files.items():
        digests[name], imported = _module_facts(path, path.stat().st_mtime_ns)
        libraries |= {library for library in _libraries(imported) if library not in PACKAGES}
    versions = {library: _version(library) for library in sorted(libraries)}
    return {
        "modules": dict(sorted(digests.items())),
        "libraries": {name: version for name, version in versions.items() if version},
        "external": _external(root, block, params),
    }


def closure(module: str, root: Path) -> dict[str, Path]:
    """Every module of the project that `module` can import, itself and the packages above included: dotted name -> file."""
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file_of(name, root)
        if name in found or path is None:
            continue
        found[name] = path
        parents = [name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1)]
        _, imported = _module_facts(path, path.stat().st_mtime_ns)
        waiting.extend(parents)
        waiting.extend(_project_imports(imported, name, path.name == "__init__.py"))
    if module not in found:
        raise UsageError(f"dvc.yaml runs module {module}, which does not exist", where=str(root), do="correct its cmd")
    return found


def _file_of(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


# An import as it stands in a file: (level of leading dots, module, names after `import`).
_Import = tuple[int, str, tuple[str, ...]]


@cache
def _module_facts(path: Path, mtime_ns: int) -> tuple[str, tuple[_Import, ...]]:
    """Digest of a module's code and what it imports, lazily imported modules inside functions included."""
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise UsageError(f"Python cannot read this file: {error.msg}", where=f"{path}:{error.lineno}") from None
    imports: list[_Import] = []
    for node in _walk(tree):
        if isinstance(node, ast.Import):
            imports.extend((0, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module or "", tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16], tuple(imports)


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Like ast.walk, without what stands under `if TYPE_CHECKING:` and so never runs."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _project_imports(imports: tuple[_Import, ...], importer: str, is_package: bool) -> list[str]:
    """Dotted names of project modules that these imports may load (a name after `from` may be a module itself)."""
    names = []
    for level, module, members in imports:
        if level:
            package = importer.split(".") if is_package else importer.split(".")[:-1]
            package = package[: len(package) - (level - 1)]
            module = ".".join([*package, *([module] if module else [])])
        if module.split(".")[0] in PACKAGES:
            names.append(module)
            names.extend(f"{module}.{member}" for member in members)
    return names


def _libraries(imports: tuple[_Import, ...]) -> set[str]:
    tops = {module.split(".")[0] for level, module, _ in imports if level == 0}
    return {top for top in tops if top and top not in sys.stdlib_module_names}


@cache
def _version(library: str) -> str | None:
    for distribution in (_DISTRIBUTIONS.get(library, library), library.replace("_", "-")):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    owners = importlib.metadata.packages_distributions().get(library)  # slow, so only for unusual names
    return importlib.metadata.version(owners[0]) if owners else None


def _external(root: Path, block: dict[str, Any], params: dict[str, Any]) -> dict[str, str]:
    """Digests of what the stage's params point at outside the DAG: `{dotted key: digest}`."""
    found: dict[str, str] = {}
    for entry in block.get("params") or []:
        if isinstance(entry, str):
            node: Any = params
            for part in entry.split("."):
                node = node.get(part) if isinstance(node, dict) else None
            _collect_external(entry, node, root, found)
    return dict(sorted(found.items()))


def _collect_external(key: str, node: Any, root: Path, found: dict[str, str]) -> None:
    if isinstance(node, dict):
        for name, child in node.items():
            _collect_external(f"{key}.{name}", child, root, found)
    elif isinstance(node, str) and key.rsplit(".", maxsplit=1)[-1] in EXTERNAL_KEYS:
        state = external_state(node, root)
        if state:
            found[key] = state


def external_state(source: str, root: Path) -> str | None:
    """A digest of what a source names: local content, or size and version of a URL; None for `sample` and hub names."""
    if "://" in source:
        return _url_state(source)
    if any(character in source for character in "*?["):
        base = root if not Path(source).is_absolute() else Path("/")
        matches = sorted(base.glob(source.lstrip("/")))
        return digest_value([[path.name, digest_path(path)] for path in matches]) if matches else None
    path = root / source  # an absolute source stays as it is
    return digest_path(path) if path.exists() else None


def _url_state(url: str) -> str | None:
    """Size, ETag or modification time as the store tells them; the stage itself reports a URL that cannot be reached."""
    if url.startswith("hf://"):
        return None  # a hub data set is pinned by its revision, which is part of the name
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(url)
        info = filesystem.info(path)
    except (
        Exception
    ) as error:  # the stores' own error kinds have no common base; unreachable is a state, said by ingest
        return f"unreachable: {type(error).__name__}"
    told = {
        name: str(info[name]) for name in ("size", "ETag", "etag", "mtime", "LastModified", "created") if name in info
    }
    return digest_value(told)


def _take_back(fingerprint: Fingerprint, changes: dict[str, dict[str, list[str | None]]]) -> None:
    for section, names in changes.items():
        for name, (old, new) in names.items():
            if fingerprint[section].get(name) != new:
                continue
            if old is None:
                fingerprint[section].pop(name, None)
            else:
                fingerprint[section][name] = old
        fingerprint[section] = dict(sorted(fingerprint[section].items()))


def differences(old: Fingerprint, new: Fingerprint) -> dict[str, dict[str, list[str | None]]]:
    """What changed between two fingerprints: `{section: {name: [old, new]}}`, None where it was or is absent."""
    changes: dict[str, dict[str, list[str | None]]] = {}
    for section in ("modules", "libraries", "external"):
        before, after = old.get(section, {}), new.get(section, {})
        changed = {
            name: [before.get(name), after.get(name)]
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        }
        if changed:
            changes[section] = changed
    return changes


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
    """Write `data/code/<stage>.json` for every stage; returns the names whose file changed.

    The file of a stage that runs now is left alone: DVC records it when the stage ends, and what ran is the code it
    started with.
    """
    folder = root / CODE_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for name, fingerprint in current(root).items():
        path = folder / f"{name}.json"
        text = dump_json(fingerprint)
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
