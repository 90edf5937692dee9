"""The samples of one split as what they are in a room: pairs, captioned images, videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from components.engines.shards.reader import ShardReader

S = TypeVar("S")


class Samples(Sequence[S]):
    """The samples of one split, by index, each read when it is asked for; `limit` takes the first ones only."""

    kind: type[Any]  # its `from_sample` makes one of what the shards hold

    def __init__(self, folder: Path, split: str, limit: int | None = None) -> None:
        self.reader = ShardReader(folder, split)
        self.length = min(len(self.reader), limit) if limit else len(self.reader)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self.length))]
        return self.kind.from_sample(self.reader[range(self.length)[index]])

    def __iter__(self) -> Iterator[S]:
        return (self[index] for index in range(self.length))
