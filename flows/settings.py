"""Edits of params.yaml that keep its comments and layout: `--set key=value` and `--profile NAME`.

The file is edited, rather than overlaid in memory, because DVC records the params it finds in it: whoever runs
`dvc repro` afterwards must see what ran.
"""

from __future__ import annotations

import difflib
import fnmatch
import json
import shutil
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml

from components.engines.base.credentials import refuse_credentials
from components.engines.base.errors import UsageError
from components.engines.base.params import read_yaml
from components.engines.base.paths import atomic_write
from flows.param_models import known_keys

PROFILES = Path("infra/profiles")
_GLOB = frozenset("*?[")


def parse_assignment(text: str) -> tuple[str, Any]:
    """`translation.finetune.max_steps=200` as key and YAML value. Raises UsageError if it is none."""
    key, equals, value = text.partition("=")
    key = key.strip()
    refuse_credentials(text, key if equals else "--set", "--set")  # before any message repeats it
    if not equals or not key:
        raise UsageError(f"--set wants system.stage.key=value, not '{text}'")
    return key, _parsed(key, value)


class _Loader(yaml.SafeLoader):
    """Without dates: no param is one, and `2024-05-01` is somebody's file name."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _parsed(key: str, value: str) -> Any:
    """A value in YAML's notation. What would be a comment in a file (` #…`) belongs to a plain text here."""
    value = value.strip()
    if not value:
        return ""
    try:
        node = yaml.compose(value, Loader=_Loader)
        plain = node is None or (isinstance(node, yaml.ScalarNode) and node.style is None)
        commented = node is None or node.end_mark.index < len(value)
        if node is not None and commented and not plain and value[_end_of(node) :].strip():
            raise UsageError(
                f"The value of --set {key} is followed by a comment", do="quote it whole, or leave that out"
            )
        found = value if commented and plain else yaml.load(value, Loader=_Loader)  # noqa: S506 - a safe loader
        json.dumps(found, allow_nan=False)
    except (yaml.YAMLError, TypeError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise UsageError(
            f"The value of --set {key} is not valid YAML of plain values: {problem}", do="quote it"
        ) from None
    return found


@dataclass(frozen=True)
class Edit:
    """params.yaml as it would be: `said` has `key: old → new` for each value that differs."""

    path: Path
    text: str
    said: list[str]

    @property
    def systems(self) -> list[str]:
        """Whose sections it changes."""
        return list(dict.fromkeys(line.split(":")[0].split(".")[0] for line in self.said))

    def write(self) -> None:
        """The file keeps its place behind a link, its mode and its line ends."""
        if self.said:
            target = self.path.resolve()
            with atomic_write(target) as partial:
                partial.write_bytes(self.text.encode("utf-8"))
                shutil.copymode(target, partial)


def prepare(root: Path, changes: list[tuple[str, Any]]) -> Edit:
    """These values put into the text of params.yaml; nothing is written yet.

    All or nothing: an unknown key or a wrong type refuses the whole edit. The value must have the type of the one it
    replaces (an integer may stand where a float does; null may replace, and be replaced by, anything). Only the text of
    the values themselves changes.
    """
    path = root / "params.yaml"
    document = read_yaml(path)
    text = path.read_bytes().decode("utf-8")
    known = cache(partial(known_keys, root))  # a process of its own
    said = []
    for key, value in changes:
        listed = is_listed(document, key)
        old = value_of(document, key) if listed else _default(known(), document, key, path)
        new = _fitting(key, old, value, path)
        if type(old) is not type(new) or old != new:
            said.append(f"{key}: {_shown(old)} → {_shown(new)}")
            write = _replaced if listed else _inserted
            text = write(text, key.split("."), new)
            document = yaml.safe_load(text)
    return Edit(path, text, said)


def apply(root: Path, changes: list[tuple[str, Any]]) -> list[str]:
    """`prepare` and write; returns what changed."""
    edit = prepare(root, changes)
    edit.write()
    return edit.said


def _replaced(text: str, parts: list[str], value: Any) -> str:
    """The YAML text with the value under these keys written anew, every other character as it was."""
    node, rest = _deepest(text, parts)
    assert not rest
    start, end = node.start_mark.index, _end_of(node)
    written = _dumped(value)
    if start == end and not text[:start].endswith(" "):
        written = f" {written}"  # `key:` with nothing behind it
    return text[:start] + written + text[end:]


def _inserted(text: str, parts: list[str], value: Any) -> str:
    """The YAML text with a key that it does not list yet, behind the last one of its mapping."""
    node, rest = _deepest(text, parts)
    for part in reversed(rest[1:]):
        value = {part: value}
    if not isinstance(node, yaml.MappingNode) or not node.value:  # `section:` or `section: {}`
        return _replaced(text, parts[: len(parts) - len(rest)], {rest[0]: value})
    end = _end_of(node)
    if node.flow_style:
        end = _end_of(node.value[-1][1])
        return f"{text[:end]}, {rest[0]}: {_dumped(value)}{text[end:]}"
    line_end = text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end
    indent = " " * node.start_mark.column
    ending = "\r\n" if "\r\n" in text else "\n"
    line_end -= ending == "\r\n" and text[:line_end].endswith("\r")
    return f"{text[:line_end]}{ending}{indent}{rest[0]}: {_dumped(value)}{text[line_end:]}"


def _deepest(text: str, parts: list[str]) -> tuple[yaml.Node, list[str]]:
    """The node under these keys, as far down as they are there, and the keys that are not."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert node is not None
    for depth, part in enumerate(parts):
        children = node.value if isinstance(node, yaml.MappingNode) else []
        child = next((child for name, child in children if name.value == part), None)
        if child is None:
            return node, parts[depth:]
        node = child
    return node, []


def _dumped(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _end_of(node: yaml.Node) -> int:
    """Where a value's text ends. (A block mapping's own mark lies behind the comments and blank lines after it.)"""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end_of(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end_of(node.value[-1])
    return node.end_mark.index


def profile(root: Path, name: str) -> list[tuple[str, Any]]:
    """The changes a profile asks for: `infra/profiles/<name>.yaml` maps dotted keys, which may hold globs, to values.

    A key without a glob must exist; one with a glob (`*.*.precision`) sets whatever it matches, which may be nothing.
    """
    path = root / PROFILES / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in (root / PROFILES).glob("*.yaml"))
        raise UsageError(f"No profile is called '{name}'", where=str(path.parent), do=f"use one of {', '.join(known)}")
    keys = dict.fromkeys([*_leaves(read_yaml(root / "params.yaml")), *known_keys(root)])
    changes: list[tuple[str, Any]] = []
    for pattern, value in (_mapping(path) or {}).items():
        if _GLOB & set(pattern):
            changes += [(key, value) for key in keys if _matches(key, pattern)]
        else:
            changes.append((pattern, value))
    return changes


def _mapping(path: Path) -> dict[str, Any] | None:
    return read_yaml(path) if path.read_text(encoding="utf-8").strip() else None


def _matches(key: str, pattern: str) -> bool:
    """A glob part stands for one part of the key, so that `*.*.seed` does not reach into deeper mappings."""
    parts, wanted = key.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def is_listed(document: Any, key: str) -> bool:
    """Whether the file has this key; the others have their models' defaults."""
    above, _, name = key.rpartition(".")
    node = value_of(document, above) if above else document
    return isinstance(node, dict) and name in node


def value_of(document: Any, key: str) -> Any:
    """None where there is no such key."""
    for part in key.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    return document


def _default(known: dict[str, Any], document: Any, key: str, path: Path) -> Any:
    """The default of a key that the file does not list. Raises UsageError, with the closest known key, if no stage has it."""
    if key in known:
        return known[key]
    close = difflib.get_close_matches(key, [*_leaves(document), *known], n=1, cutoff=0.6)
    hint = f"did you mean {close[0]}?" if close else "use a key that the file or a stage's model has"
    raise UsageError(f"params have no key '{key}'", where=str(path), do=hint)


def _leaves(node: Any, prefix: str = "") -> list[str]:
    """Dotted keys of everything, mappings included: a whole mapping (such as `fields`) may be replaced."""
    found = []
    for name, value in node.items() if isinstance(node, dict) else ():
        key = f"{prefix}{name}"
        found += [key, *_leaves(value, f"{key}.")]
    return found


def _fitting(key: str, old: Any, value: Any, path: Path) -> Any:
    """The value as the type it replaces, so that `--set x.lr=1` does not turn a float into an integer."""
    if old is None or value is None:
        return value
    if _number(old) and _number(value):
        if isinstance(old, float):
            return float(value)
        if float(value).is_integer():
            return int(value)
    elif isinstance(old, float) and isinstance(value, str):
        try:
            return float(value)  # YAML 1.1 reads 1e-4 as text
        except ValueError:
            pass
    elif _family(old) is _family(value):
        return value
    elif isinstance(old, str) or isinstance(value, str):
        # `auto` may stand where a number does (num_workers), and a name where a list does; the stage's model decides
        return value
    raise UsageError(
        f"{key} wants {_family(old).__name__}, not {_shown(value)}", where=str(path), do="give a value of that type"
    )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _family(value: Any) -> type:
    return next((kind for kind in (bool, int, float, str, dict, list) if isinstance(value, kind)), type(value))


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
