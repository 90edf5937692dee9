"""A new system written from a template: its room, its tests, its blocks in dvc.yaml, params.yaml and prefect.yaml."""

from __future__ import annotations

import keyword
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.engines.base.errors import UsageError
from components.engines.base.params import read_yaml
from components.engines.base.paths import atomic_write
from flows.project import systems_of

TEMPLATES = Path(__file__).parent / "templates/rooms"
KINDS = {
    "images": ("images",),
    "text": ("language", "text"),
    "pairs": ("language", "pairs"),
}  # later folders go over earlier
# Files of all systems: what their blocks are called among the templates, where DVC must not take them for a dvc.yaml.
CONFIGURATION = {"dvc.yaml": "stages.yaml", "params.yaml": "params.yaml", "prefect.yaml": "schedule.yaml"}
PLACEHOLDER = "SYSTEM"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_IMPORTS = re.compile(r"(?:^[ ]*from components\.\S+ import .*\n)+", re.MULTILINE)


@dataclass(frozen=True)
class Room:
    """What is to be written: new files by path relative to the project, and the new texts of the files of all systems."""

    system: str
    kind: str
    files: Mapping[str, str]
    configuration: Mapping[str, str]

    def write(self, root: Path) -> None:
        """The room first: without its blocks in dvc.yaml nobody knows of it."""
        for name, text in self.files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        for name, text in self.configuration.items():
            with atomic_write(root / name) as partial:
                partial.write_text(text, encoding="utf-8")
                shutil.copymode(root / name, partial)


def prepare(root: Path, system: str, kind: str) -> Room:
    """The room as it would be written; nothing is written yet. Raises UsageError for a name that cannot be one or is taken."""
    _check_name(root, system)
    found: dict[str, Path] = {}
    for folder in KINDS[kind]:
        found |= {path.relative_to(TEMPLATES / folder).as_posix(): path for path in _files(TEMPLATES / folder)}
    texts = {name: _filled(path.read_text(encoding="utf-8"), system) for name, path in found.items()}
    blocks = {name: texts.pop(template) for name, template in CONFIGURATION.items()}
    files = {_place(name, system): text for name, text in texts.items()}
    return Room(system, kind, files, _configured(root, system, blocks))


def _check_name(root: Path, system: str) -> None:
    if not _NAME.fullmatch(system) or keyword.iskeyword(system):
        raise UsageError(
            f"{system!r} cannot be a system's name: it names a Python package and the stages of dvc.yaml",
            do="use lower-case letters, digits and underscores, 40 at most, a letter first",
        )
    deployments = read_yaml(root / "prefect.yaml").get("deployments") or []
    taken = {
        f"components/{system}": (root / "components" / system).exists(),
        f"tests/{system}": (root / "tests" / system).exists(),
        "dvc.yaml": system in systems_of(root),
        "params.yaml": system in read_yaml(root / "params.yaml"),
        "prefect.yaml": system in {one.get("name") for one in deployments},
    }
    where = [place for place, there in taken.items() if there]
    if where:
        raise UsageError(f"'{system}' exists already", where=", ".join(where), do="choose another name")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _place(name: str, system: str) -> str:
    is_test = name.startswith("tests/")
    return f"tests/{system}/{Path(name).name.replace('room', system)}" if is_test else f"components/{system}/{name}"


def _filled(text: str, system: str) -> str:
    """The template with the system's name, which decides where its imports stand among the others."""
    text = re.sub(rf"\b{PLACEHOLDER}", system, text)
    return _IMPORTS.sub(lambda run: "".join(sorted(run[0].splitlines(keepends=True))), text)


def _configured(root: Path, system: str, blocks: dict[str, str]) -> dict[str, str]:
    """The files of all systems with the new blocks at their ends; every other character stays."""
    paths = {name: root / name for name in CONFIGURATION}
    texts = {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
    heading = f"  # {system} ".ljust(120, "-")
    return {
        "dvc.yaml": appended(texts["dvc.yaml"], ["stages"], f"\n{heading}\n\n{blocks['dvc.yaml']}", paths["dvc.yaml"]),
        "params.yaml": appended(texts["params.yaml"], [], "\n" + blocks["params.yaml"], paths["params.yaml"]),
        "prefect.yaml": appended(
            texts["prefect.yaml"], ["deployments"], "\n" + blocks["prefect.yaml"], paths["prefect.yaml"]
        ),
    }


def appended(text: str, keys: Sequence[str], block: str, path: Path) -> str:
    """The YAML text with the lines of `block` behind the last entry of the mapping or list under `keys` ([]: of the document).

    Raises UsageError where the file is laid out so that they would land elsewhere.
    """
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for key in keys:
        node = next((value for name, value in node.value if name.value == key), None)
        if not isinstance(node, yaml.CollectionNode) or node.flow_style:
            raise UsageError(f"{path.name} has no block of entries under {'.'.join(keys)}", where=str(path))
    lines = text.splitlines(keepends=True)
    lines[_last_line(node)] = lines[_last_line(node)].rstrip("\n") + "\n"
    lines.insert(_last_line(node) + 1, block)
    written = "".join(lines)
    before, after = _entries(text, keys), _entries(written, keys)
    if before is None or after is None or len(after) <= len(before) or any(one not in after for one in before):
        raise UsageError(f"{path.name} is laid out so that nothing can be added to it", where=str(path))
    return written


def _last_line(node: yaml.Node) -> int:
    """Of what is written of a node, comments behind it left out."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
    return node.end_mark.line


def _entries(text: str, keys: Sequence[str]) -> list[Any] | None:
    """What stands under `keys`, entry by entry; None where the text is no YAML any more."""
    try:
        found = yaml.safe_load(text)
        for key in keys:
            found = found[key]
    except (yaml.YAMLError, KeyError, TypeError):
        return None
    return list(found.items()) if isinstance(found, dict) else list(found)
