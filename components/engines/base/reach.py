"""What a module can reach when it runs: definitions by static name resolution, the statements of what it loads, libraries.

A definition reaches what its names lead to, in its own module or through imports, re-exports included. A class counts as a whole,
with its bases. A module that is loaded counts with the statements that act at once, a definition only where something leads to
it. Where it cannot be seen what is used, the whole module counts: one that is handed on as a value, named by a string, or
imported with `*`, or that looks into its own names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from components.engines.base.definitions import ALWAYS, IMPORT, LAZY, MAIN, PACKAGES, WATCHING, Facts, Import, Unit
from components.engines.base.syntax import digest_of_text

# A node of the graph: a loaded module (None), all of one (-1), or one of its statements by number.
Node = tuple[str, int | None]
_ALL = -1


@dataclass
class Reached:
    """`definitions`: module -> what of it is reached -> digest. `data`: module -> names that it may read beside it; "" where it
    reads there without naming what."""

    definitions: dict[str, dict[str, str]] = field(default_factory=dict)
    libraries: set[str] = field(default_factory=set)
    loaded: list[str] = field(default_factory=list)
    data: dict[str, set[str]] = field(default_factory=dict)


class Graph:
    """All modules of a project; `facts` gives those of one by its dotted name, None where there is no such module."""

    def __init__(self, facts: Callable[[str], Facts | None]) -> None:
        self._facts = facts
        self._modules: dict[str, _Module | None] = {}
        self._edges: dict[Node, frozenset[Node]] = {}
        self._registering: dict[Node, bool] = {}

    def reached(self, entry: str) -> Reached:
        """What `python -m entry` can reach: from what it does as a program, or all of it where it does not say."""
        programs = [(number, unit) for number, unit in self._units(entry) if unit["kind"] == MAIN]
        start: set[Node] = {(entry, None if programs else _ALL)}
        for number, unit in programs:
            start |= {(entry, number), *self._told_types(entry, unit)}
        return self._collected(self._closure(start))

    def imports(self, entry: str) -> list[str]:
        """Every module that importing `entry` and calling anything in it may load, itself and the packages above included."""
        found: list[str] = []
        waiting = [entry]
        while waiting:
            name = waiting.pop()
            if name in found or self._module(name) is None:
                continue
            found.append(name)
            waiting += _parents(name)
            waiting += [
                module for _, unit in self._units(name) for one in unit["imports"] for module in self._loads(one)
            ]
        return found

    def libraries(self, modules: list[str]) -> set[str]:
        """Import names of libraries that these modules import anywhere."""
        units = (unit for name in modules for _, unit in self._units(name))
        return {library for unit in units for library in _libraries(unit)}

    def defines(self, module: str, name: str) -> bool:
        found = self._module(module)
        return found is not None and any(found.facts["units"][n]["kind"] != IMPORT for n in found.binds.get(name, ()))

    # ------------------------------------------------------------------------------------------------------ walking

    def _closure(self, start: set[Node]) -> set[Node]:
        found: set[Node] = set()
        waiting = [*start]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                if node not in self._edges:
                    self._edges[node] = frozenset(self._led_to(*node))
                waiting.extend(self._edges[node] - found)
        return found

    def _led_to(self, name: str, number: int | None) -> Iterator[Node]:
        module = self._module(name)
        if module is None:
            return
        if number is None:
            yield from ((parent, None) for parent in _parents(name))
            yield from ((star, _ALL) for star in module.facts["star"])
            for index, unit in self._units(name):
                if unit["kind"] == IMPORT:
                    yield from ((loaded, None) for one in unit["imports"] for loaded in self._loads(one))
                elif unit["kind"] == ALWAYS or (unit["kind"] == LAZY and self._acts(name, unit)):
                    yield name, index
        elif number == _ALL:
            yield name, None
            yield from ((name, index) for index, unit in self._units(name) if unit["kind"] != WATCHING)
        else:
            yield name, None
            yield from self._used_by(name, module.facts["units"][number])

    def _used_by(self, name: str, unit: Unit) -> Iterator[Node]:
        for one in unit["imports"]:
            yield from ((loaded, None) for loaded in self._loads(one))
        for chain in unit["refs"]:
            yield from self._resolved(name, chain, unit["imports"])
        for told in unit["modules"]:
            module, _, member = told.partition(":")
            yield from self._member(module, [member] if member else [], ())
        if "dynamic" in unit["marks"]:
            yield name, _ALL

    def _told_types(self, entry: str, main: Unit) -> set[Node]:
        """What the annotations of the stage's own function lead to: the runner reads them."""
        found: set[Node] = set()
        module = self._module(entry)
        assert module is not None
        for chain in main["refs"]:
            for number in module.binds.get(chain[0], ()):
                unit = module.facts["units"][number]
                for told in unit["annotations"]:
                    found.update(self._resolved(entry, told, unit["imports"]))
        return found

    # ---------------------------------------------------------------------------------------------------- resolving

    def _resolved(self, name: str, chain: list[str], imports: list[Import], above: tuple[str, ...] = ()) -> set[Node]:
        """Where a dotted name leads that is looked up in a module, past the imports of the function it stands in."""
        found: set[Node] = set()
        for one in imports:
            if one["alias"] == chain[0]:
                found |= self._through(one, chain[1:], above)
        module = self._module(name)
        for number in module.binds.get(chain[0], ()) if module else ():
            unit = module.facts["units"][number]  # type: ignore[union-attr]
            if unit["kind"] == WATCHING:
                continue
            found.add((name, number))
            if unit["kind"] == IMPORT:
                found |= self._through(unit["imports"][0], chain[1:], above)
        return found

    def _through(self, target: Import, rest: list[str], above: tuple[str, ...]) -> set[Node]:
        if target["alias"] is None or target["module"].split(".")[0] not in PACKAGES:
            return set()
        return self._member(target["module"], [*([target["name"]] if target["name"] else []), *rest], above)

    def _member(self, name: str, rest: list[str], above: tuple[str, ...]) -> set[Node]:
        """What `rest` is of the module `name`; all of the module where that cannot be said."""
        here = f"{name}:{'.'.join(rest)}"
        if here in above:
            return set()
        module = self._module(name)
        if not rest:
            return {(name, _ALL)} if module else set()
        found: set[Node] = {(name, None)} if module else set()
        below = f"{name}.{rest[0]}"
        known = False
        if module and rest[0] in module.binds:
            found |= self._resolved(name, rest, [], (*above, here))
            known = True
        if self._module(below) or not module:
            found |= {(below, None)} | self._member(below, rest[1:], (*above, here))
            known = True
        return found if known else found | {(name, _ALL)}

    def _loads(self, target: Import) -> list[str]:
        """The modules that an import loads: the one it names, and what it takes from it where that is one too."""
        if target["module"].split(".")[0] not in PACKAGES:
            return []
        names = [target["module"], *([f"{target['module']}.{target['name']}"] if target["name"] else [])]
        return [name for name in names if self._module(name)]

    def _acts(self, name: str, unit: Unit) -> bool:
        """Whether loading the module already does something with it: a base that registers its subclasses, a call of the
        project that may leave more behind than its value."""
        if any(self._registers(node) for base in unit["bases"] for node in self._resolved(name, base, [])):
            return True
        return any(not self._only_makes(name, call) for call in unit["calls"])

    def _registers(self, node: Node) -> bool:
        name, number = node
        if node not in self._registering:
            self._registering[node] = False  # while it is looked at
            unit = self._unit(name, number)
            if unit is not None:
                self._registering[node] = "registers" in unit["marks"] or any(
                    self._registers(above) for base in unit["bases"] for above in self._resolved(name, base, [])
                )
        return self._registering[node]

    def _only_makes(self, name: str, call: list[str]) -> bool:
        """Whether a call makes an instance of a class of the project without running code of the project."""
        made = [(node, self._unit(*node)) for node in self._resolved(name, call, [])]
        kinds = [(node, unit) for node, unit in made if unit is not None and unit["kind"] != IMPORT]
        return bool(kinds) and all(
            "is_class" in unit["marks"]
            and "constructs" not in unit["marks"]
            and len(call) == 1
            and all(
                base[0] in ("Protocol", "Generic", "Enum", "object") or self._only_makes(node[0], base)
                for base in unit["bases"]
            )
            for node, unit in kinds
        )

    # ------------------------------------------------------------------------------------------------------- reading

    def _module(self, name: str) -> _Module | None:
        if name not in self._modules:
            facts = self._facts(name)
            self._modules[name] = None if facts is None else _Module(facts)
        return self._modules[name]

    def _units(self, name: str) -> list[tuple[int, Unit]]:
        module = self._module(name)
        return [] if module is None else module.units

    def _unit(self, name: str, number: int | None) -> Unit | None:
        module = self._module(name)
        return module.facts["units"][number] if module and number is not None and number != _ALL else None

    def _collected(self, nodes: set[Node]) -> Reached:
        reached = Reached(loaded=sorted(name for name, number in nodes if number is None and self._module(name)))
        by_module: dict[str, list[int]] = {}
        for name, number in nodes:
            if number is not None and number != _ALL:
                by_module.setdefault(name, []).append(number)
        for name in reached.loaded:
            pieces: dict[str, str] = {}
            module = self._modules[name]
            assert module is not None
            reached.libraries |= module.libraries
            for number in sorted(by_module.get(name, ())):
                unit = module.facts["units"][number]
                if unit["imports"]:
                    reached.libraries |= _libraries(unit)
                label = module.labels[number]
                pieces[label] = pieces.get(label, "") + unit["digest"]
                if unit["data"] or "files" in unit["marks"]:
                    reached.data.setdefault(name, set()).update(unit["data"] or [""])
            if pieces.keys() - {FUTURE}:
                reached.definitions[name] = {label: _short(pieces[label]) for label in sorted(pieces)}
        return reached


@dataclass
class _Module:
    facts: Facts

    @cached_property
    def units(self) -> list[tuple[int, Unit]]:
        return [*enumerate(self.facts["units"])]

    @cached_property
    def labels(self) -> list[str]:
        return [_label(unit) for unit in self.facts["units"]]

    @cached_property
    def libraries(self) -> set[str]:
        """What is imported when it is loaded."""
        return {library for unit in self.facts["units"] if unit["kind"] == IMPORT for library in _libraries(unit)}

    @cached_property
    def binds(self) -> dict[str, list[int]]:
        """Numbers of the statements that bind each name."""
        found: dict[str, list[int]] = {}
        for number, unit in enumerate(self.facts["units"]):
            for name in unit["binds"]:
                found.setdefault(name, []).append(number)
        return found


IMPORTS, STATEMENTS, FUTURE = "(imports)", "(statements)", "(future)"


def _label(unit: Unit) -> str:
    if unit["kind"] == IMPORT:
        return IMPORTS
    if any(one["module"] == "__future__" for one in unit["imports"]):
        return FUTURE  # nothing by itself, but it says how the rest is read
    return ", ".join(unit["binds"]) if unit["binds"] and unit["kind"] != MAIN else STATEMENTS


def _short(digests: str) -> str:
    return digests[:12] if len(digests) <= 16 else digest_of_text(digests)[:12]


def _libraries(unit: Unit) -> set[str]:
    tops = {one["module"].split(".")[0] for one in unit["imports"]}
    return {top for top in tops if top and top not in sys.stdlib_module_names and top not in PACKAGES}


def _parents(name: str) -> list[str]:
    return [name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1)]
