"""What runs over shards: a mapper decodes samples one by one and answers them in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from components.engines.base.errors import GenworksError, StageError
from components.engines.shards.tar import Sample


@dataclass(frozen=True)
class Rejected:
    """A sound but unwanted sample: left out of the output, kept beside it with `reason` (a short fixed word)."""

    reason: str
    sample: Sample
    detail: str = ""


class Mapper(Protocol):
    """A model or rule over samples. Loaded once per worker, in the thread that calls `apply`.

    Its answer must depend on the batch alone: no draws from global state, no memory of earlier batches. Batches are
    `batch_size` decoded items of one shard in order (fewer at its end), so that a redone shard gives the same bytes.
    """

    batch_size: int

    def decode(self, sample: Sample) -> Any:
        """The item `apply` takes. Called in a thread of its own; raises BadRecord for a sample that cannot be used."""
        ...

    def apply(self, items: list[Any]) -> Sequence[Sample | Rejected]:
        """One answer per item, in order: the sample to write, or why there is none."""
        ...


def load_mapper(factory: Callable[[], Mapper]) -> Mapper:
    with blame("loading the mapper"):
        mapper = factory()
        if mapper.batch_size < 1:
            raise ValueError(f"batch_size must be positive, not {mapper.batch_size}")
    return mapper


def answers(mapper: Mapper, shard: str, keys: list[str], items: list[Any]) -> Sequence[Sample | Rejected]:
    """Apply the mapper to one batch. Raises StageError naming the shard and the sample that fails."""
    try:
        given = mapper.apply(items)
    except (Exception, SystemExit) as error:
        where = _culprit(mapper, keys, items)
        with blame(f"shard {shard}, {where}"):
            raise error
    if len(given) != len(items):
        raise StageError(
            f"The mapper gave {len(given)} answers for {len(items)} items",
            where=f"shard {shard}, samples {keys[0]} to {keys[-1]}",
            do="return one Sample or Rejected per item",
        )
    for key, answer in zip(keys, given, strict=True):
        if not isinstance(answer, dict | Rejected):
            raise StageError(
                f"The mapper gave {type(answer).__name__} for a sample",
                where=f"shard {shard}, sample {key}",
                do="return a Sample or Rejected",
            )
    return given


def _culprit(mapper: Mapper, keys: list[str], items: list[Any]) -> str:
    """The first sample that fails alone; a batch that fails only as a whole is named by its ends."""
    for key, item in zip(keys, items, strict=True):
        try:
            mapper.apply([item])
        except (Exception, SystemExit):
            return f"sample {key}"
    return f"samples {keys[0]} to {keys[-1]}"


@contextmanager
def blame(where: str, passing: type[Exception] | tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Give a mapper's failure its place and the step the user can take; `passing` kinds go through as they are.

    A mapper that calls `sys.exit()` has failed too: its SystemExit would end a whole stage as if all were well, or one thread
    of a worker whose driver then waits for ever.
    """
    try:
        yield
    except passing:
        raise
    except GenworksError as error:
        raise type(error)(error.what, where=", ".join(filter(None, (where, error.where))), do=error.do) from error
    except (Exception, SystemExit) as error:
        raise StageError(
            f"The mapper failed: {type(error).__name__}: {error}",
            where=where,
            do="correct the mapper or the sample and run again: finished shards are kept",
        ) from error
