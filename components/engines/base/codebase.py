"""The project's modules, and what each stage reaches of them, read once and remembered between processes.

Under `.work/code/` lie the facts of every module, by its content (`facts.json`), and what was reached from where as long as no
file of the project's packages has changed (`reached.json`). Both are JSON, replaced whole, so that any number of processes may
write them; losing them costs a reading. A file counts as unchanged while size, time and inode are the same, as with DVC.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypedDict

from components.engines.base import bindings, definitions, reach, syntax
from components.engines.base.definitions import PACKAGES, Facts, facts_of
from components.engines.base.digests import SETTLED_NS
from components.engines.base.errors import UsageError
from components.engines.base.paths import digest_file, digest_value
from components.engines.base.reach import Graph, Reached
from components.engines.base.syntax import digest_of_text

FOLDER = Path(".work/code")
READER = "external_inputs"  # see external.py
# What flows reads of a room, not its stages; and what is code wherever it lies.
_ABOUT_ROOMS = {"comparisons.yaml", "figures.yaml", "__init__.py"}

_Mark = list[int]  # size, mtime, inode


class StageCode(TypedDict):
    """What of the code a stage can see: `modules` module -> definition -> digest, `files` data beside modules -> digest."""

    modules: dict[str, dict[str, str]]
    files: dict[str, str]
    libraries: list[str]
    readers: list[str]


class Codebase:
    """As the files are now. Make a new one to look again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = {name: mark for package in PACKAGES for name, mark in _files(root / package, package)}
        self.graph = Graph(self._facts)
        self._new_facts = False

    def stages(self, entries: list[str]) -> dict[str, StageCode]:
        """By the module that each runs. Raises UsageError for one that does not exist."""
        tree = digest_of_text(json.dumps([_stamp(), sorted(self.files.items())]))
        known = _read(self.root / FOLDER / "reached.json")
        found = known["stages"] if known.get("tree") == tree else {}
        missing = [entry for entry in entries if entry not in found]
        if missing:
            found |= {entry: self._stage(entry) for entry in missing}
            self._remember("reached.json", {"tree": tree, "stages": found})
            self._keep_facts()
        return {entry: found[entry] for entry in entries}

    def imports(self, module: str) -> dict[str, Path]:
        """Every module of the project that `module` can import, itself and the packages above included, with its file.

        A module's data, `lexicon.yaml` beside `lexicon.py`, is part of it.
        """
        self._require(module)
        names = self.graph.imports(module)
        self._keep_facts()
        files = {name: str(self.file_of(name)) for name in names}
        files |= {f"{name}.yaml": data_of(file) for name, file in files.items() if data_of(file) in self.files}
        return {name: self.root / file for name, file in files.items()}

    def libraries(self, module: str) -> set[str]:
        """Import names of the libraries that these modules import."""
        return self.graph.libraries(self.graph.imports(module))

    def file_of(self, module: str) -> str | None:
        """The file of a module, from the root, None where there is none."""
        base = module.replace(".", "/")
        return next((name for name in (f"{base}/__init__.py", f"{base}.py") if name in self.files), None)

    def _stage(self, entry: str) -> StageCode:
        self._require(entry)
        reached = self.graph.reached(entry)
        own = f"{__package__}."
        readers = [n for n in reached.loaded if not n.startswith(own) and self.graph.defines(n, READER)]
        return {
            "modules": reached.definitions,
            "files": self._data(reached),
            "libraries": sorted(reached.libraries),
            "readers": readers,
        }

    def _require(self, module: str) -> None:
        if self.file_of(module) is None:
            raise UsageError(
                f"dvc.yaml runs module {module}, which does not exist", where=str(self.root), do="correct its cmd"
            )

    def _data(self, reached: Reached) -> dict[str, str]:
        """Data files beside modules: of the module's name, named in it, or all below its folder where it names none."""
        found: set[str] = set()
        for module in reached.definitions:
            file = str(self.file_of(module))
            folder, named = file.rpartition("/")[0], reached.data.get(module, set())
            found |= {f"{folder}/{name}" for name in named} | {data_of(file)}
            if "" in named:
                found |= {name for name in self.files if name.startswith(f"{folder}/") and not name.endswith(".py")}
        kept = [name for name in found if name in self.files and name.rpartition("/")[2] not in _ABOUT_ROOMS]
        return {name: _content(self.root / name) for name in sorted(kept)}

    # ---------------------------------------------------------------------------------------------------------- facts

    def _facts(self, module: str) -> Facts | None:
        name = self.file_of(module)
        if name is None:
            return None
        entry = self._kept.get(name)
        mark = self.files[name]
        if entry is None or entry["mark"] != mark:
            source = (self.root / name).read_bytes()
            content = hashlib.sha256(source).hexdigest()
            if entry is not None and entry["content"] == content:
                facts = entry["facts"]
            else:
                facts = facts_of(source, module, name.endswith("__init__.py"), str(self.root / name))
            self._kept[name] = entry = {"mark": mark, "content": content, "facts": facts}
            self._new_facts = True
        return entry["facts"]

    @cached_property
    def _kept(self) -> dict[str, dict[str, Any]]:
        known = _read(self.root / FOLDER / "facts.json")
        files = known["files"] if known.get("stamp") == _stamp() else {}
        return {name: entry for name, entry in files.items() if name in self.files}

    def _keep_facts(self) -> None:
        if self._new_facts:
            self._remember("facts.json", {"stamp": _stamp(), "files": self._kept})
            self._new_facts = False

    def _remember(self, name: str, value: Any) -> None:
        """Unless a file changed just now: another change within the clock's grain would look like none."""
        if any(time.time_ns() - mark[1] < SETTLED_NS for mark in self.files.values()):
            return
        path = self.root / FOLDER / name
        partial = path.with_name(f".{name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(value, separators=(",", ":")), encoding="utf-8")
            os.replace(partial, path)
        except OSError:  # a full disk or a read-only project costs a reading next time, nothing else
            return


def data_of(file: str) -> str:
    """Where the data of a module lies that is called like it."""
    return f"{file.removesuffix('.py')}.yaml"


def _content(path: Path) -> str:
    """Of YAML its values: comments are no data."""
    if path.suffix == ".yaml":
        from components.engines.base.params import read_yaml  # needs libraries, which code alone does not

        return digest_value(read_yaml(path))[:16]
    return digest_file(path)[:16]


def _files(folder: Path, name: str) -> Iterator[tuple[str, _Mark]]:
    """Every file of a package by its path from the root, with what tells whether it changed; links are followed."""
    waiting = [(str(folder), name, ())]  # type: list[tuple[str, str, tuple[str, ...]]]
    while waiting:
        path, below, above = waiting.pop()
        real = os.path.realpath(path)
        if real in above or not os.path.isdir(path):
            continue
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir():
                    if entry.name != "__pycache__":
                        waiting.append((entry.path, f"{below}/{entry.name}", (*above, real)))
                elif entry.is_file():
                    stat = entry.stat()
                    yield f"{below}/{entry.name}", [stat.st_size, stat.st_mtime_ns, stat.st_ino]


@cache
def _stamp() -> str:
    """Digest of what analyses: other code may come to other facts."""
    sources = [
        Path(str(module.__file__)).read_text(encoding="utf-8") for module in (bindings, definitions, reach, syntax)
    ]
    return digest_of_text("".join([*sources, Path(__file__).read_text(encoding="utf-8")]))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
