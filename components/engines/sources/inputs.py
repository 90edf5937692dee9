"""Which files a source is read from, so that a change in any of them is noticed (see base/external.py)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from components.engines.base.external import Input, version_of
from components.engines.base.paths import digest_value, files_of
from components.engines.sources.files import FORMATS, find_files, forget_listings, info_of, is_saved_dataset
from components.engines.sources.hub import SCHEME, names_a_file, parse_name


def source_inputs(
    source: str, format: str | None, root: Path, *, formats: Mapping[str, str] = MappingProxyType(FORMATS)
) -> list[Input]:
    """Every file that the readers open for this source. Raises UsageError where there is none, StageError out of reach."""
    if source.startswith(SCHEME) and not names_a_file(source):
        folder = root / parse_name(source).path
        return (
            [Input(name, file) for name, file in files_of(folder)] if folder.is_dir() else []
        )  # else its commit says all
    place = located(source, root)
    if is_saved_dataset(place):
        return [Input(name, file) for name, file in files_of(Path(place))]
    forget_listings(place)
    return [input_at(file.filesystem, file.path, file.name) for file in find_files(place, format, formats=formats)]


def located(source: str, root: Path) -> str:
    """The source as the stage will find it: it runs in `root`."""
    return source if "://" in source else str(root / source)


def input_at(filesystem: Any, path: str, name: str) -> Input:
    if is_local(filesystem):
        return Input(name, Path(path))
    return Input(name, state=digest_value(version_of(info_of(filesystem, path))))


def is_local(filesystem: Any) -> bool:
    protocols = (filesystem.protocol,) if isinstance(filesystem.protocol, str) else filesystem.protocol
    return bool({"file", "local"} & set(protocols))


def inputs_at(filesystem: Any, paths: Mapping[str, str]) -> list[Input]:
    """The files at these paths (by name) that exist; of a remote store each folder is listed once. Over HTTP there are no
    folders, so nothing is said of them."""
    if is_local(filesystem):
        return [Input(name, Path(path)) for name, path in sorted(paths.items()) if Path(path).is_file()]
    names = {path.lstrip("/"): name for name, path in paths.items()}
    found = []
    for folder in sorted({path.rsplit("/", 1)[0] for path in paths.values()}):
        for info in _listed(filesystem, folder):
            name = names.get(str(info["name"]).lstrip("/"))
            if name is not None:
                found.append(Input(name, state=digest_value(version_of(info))))
    return sorted(found, key=lambda one: one.name)


def _listed(filesystem: Any, folder: str) -> list[dict[str, Any]]:
    protocols = (filesystem.protocol,) if isinstance(filesystem.protocol, str) else filesystem.protocol
    if {"http", "https"} & set(protocols):
        return []
    try:
        return list(filesystem.ls(folder, detail=True))
    except FileNotFoundError:
        return []
