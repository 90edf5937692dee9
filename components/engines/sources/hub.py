"""Hugging Face datasets as a source: from the hub by streaming, or a local folder written by `save_to_disk`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from components.engines.base.errors import StageError, UsageError
from components.engines.base.hub import require_commit
from components.engines.sources.rows import Row, Table, Unreadable

SCHEME = "hf://"
_OPTIONS = ("config", "split")


@dataclass(frozen=True)
class HubName:
    """`hf://owner/name@commit?config=…&split=…`, or a local folder behind `hf://`."""

    path: str
    revision: str | None
    config: str | None
    split: str | None


def parse_name(source: str) -> HubName:
    rest, _, query = source.removeprefix(SCHEME).removeprefix("datasets/").partition("?")
    options = parse_qs(query, keep_blank_values=True)
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown or not rest:
        raise UsageError(
            f"unknown option {', '.join(unknown)}" if unknown else "no dataset is named",
            where=source,
            do="write hf://owner/name@commit?config=NAME&split=NAME",
        )
    path, _, revision = rest.partition("@")
    first = {name: values[0] for name, values in options.items()}
    return HubName(path, revision or None, first.get("config"), first.get("split"))


def names_a_file(source: str) -> bool:
    """`hf://datasets/owner/name/folder/file.parquet` is a file for fsspec, not a dataset."""
    rest = source.removeprefix(SCHEME).partition("?")[0]
    return rest.startswith("datasets/") and rest.count("/") > 2


def read_hub(source: str) -> Table:
    """Rows of a dataset on the hub, streamed. Images and audio stay undecoded (`{"bytes": …, "path": …}`)."""
    name = parse_name(source)
    if Path(name.path).is_dir():
        return read_saved(name.path, name.split)
    require_commit(name.path, name.revision, "source")
    from datasets import load_dataset

    try:
        dataset = load_dataset(
            name.path, name.config, split=name.split or "train", revision=name.revision, streaming=True
        )
    except ValueError as error:  # an unknown config or split: the message lists those that exist
        raise UsageError(f"The dataset cannot be opened: {' '.join(str(error).split())}", where=source) from None
    except (OSError, RuntimeError) as error:
        raise StageError(
            f"The dataset cannot be reached: {type(error).__name__}: {' '.join(str(error).split())}",
            where=source,
            do="check its name, the network and HF_TOKEN",
        ) from error
    return _table(dataset)


def read_saved(path: str, split: str | None = None) -> Table:
    """Rows of a folder written by `Dataset.save_to_disk` (or one split of a `DatasetDict`)."""
    from datasets import DatasetDict, load_from_disk

    try:
        dataset = load_from_disk(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StageError(f"The saved dataset cannot be opened: {error}", where=path, do="save it again") from error
    if isinstance(dataset, DatasetDict):
        if split not in dataset:
            raise UsageError(
                f"The saved dataset has splits {', '.join(sorted(dataset))}" + (f", not {split}" if split else ""),
                where=path,
                do=f"point at one of them, e.g. {Path(path) / min(dataset)}",
            )
        dataset = dataset[split]
    return _table(dataset)


def _table(dataset: Any) -> Table:
    features = dataset.features or {}
    for column, feature in features.items():
        if getattr(feature, "decode", None) is True:
            undecoded = type(feature)(**{**_settings(feature), "decode": False})
            dataset = dataset.cast_column(column, undecoded)
    return Table(list(features) or None, _rows(dataset))


def _settings(feature: Any) -> dict[str, Any]:
    """The constructor arguments of an Image, Audio or Video feature."""
    from dataclasses import fields

    return {field.name: getattr(feature, field.name) for field in fields(feature) if field.init}


def _rows(dataset: Any) -> Iterator[Row | Unreadable]:
    for number, cells in enumerate(dataset, start=1):
        yield Row(number, dict(cells))
