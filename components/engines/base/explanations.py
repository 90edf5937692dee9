"""Words for failures that libraries raise as they please: what happened, where, what to do."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from typing import Any

from components.engines.base.errors import GenworksError, StageError, UsageError, explain_os_error

_FIT = "weights and params belong together: check the architecture's params against the checkpoint or `init_from` they meet"
# What the message holds (libraries in Rust and C++ have no errno to look at), what to say, what to do.
_TOLD = (
    (
        r"StorageFull|No space left on device|os error 28|database or disk is full|PytorchStreamWriter failed writing",
        "The disk is full",
        "free some space and run again: finished work under .work/ is kept",
    ),
    (
        r"size mismatch for|shapes? cannot be multiplied|must match the size of tensor|size of tensor a|"
        r"Expected size|is invalid for input of size|expected input.* to have \d+ channels|You set `ignore_mismatched_sizes`",
        "Tensors do not fit each other",
        _FIT,
    ),
    (r"CUDA out of memory|DefaultCPUAllocator: can't allocate", "Memory is full", "lower batch_size or the size of the model"),
    (
        r"deserializing header|HeaderTooLarge|HeaderTooSmall|MetadataIncompleteBuffer|InvalidHeader|"
        r"PytorchStreamReader failed|invalid load key",
        "A file of weights is damaged or cut short",
        "remove it and run again; a registered version is made whole by `genworks run`",
    ),
)  # fmt: skip

_KINDS: dict[type[BaseException], Callable[[Any], GenworksError]] = {
    MemoryError: lambda _: StageError("Memory is full", do="lower batch_size, num_workers or --jobs, and run again"),
    UnicodeError: lambda error: UsageError(f"A text is not UTF-8: {error}", do="convert it, or name it in UTF-8"),
    ModuleNotFoundError: lambda error: UsageError(
        f"The library {error.name} is missing", do="pip install -c constraints.txt -e ."
    ),
}


def explain(error: BaseException) -> GenworksError:
    """Our own errors as they are, known ones in our words; of others the message and the line that raised it."""
    known = next((found for one in _chain(error) if (found := _known(one)) is not None), None)
    if known is not None:
        return known
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return StageError(
        f"{type(error).__name__}: {error}",
        where=f"{last[0].filename}:{last[0].lineno}" if last else "",
        do="run it again with --debug for the traceback, and report it: this failure has no explanation yet",
    )


def _chain(error: BaseException) -> list[BaseException]:
    found = [error]
    while found[-1].__cause__ is not None and len(found) < 10:
        found.append(found[-1].__cause__)
    return found


def _known(error: BaseException) -> GenworksError | None:
    if isinstance(error, GenworksError):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        return explain_os_error(error)
    for kind, build in _KINDS.items():
        if isinstance(error, kind):
            return build(error)
    text = str(error)
    for pattern, what, do in _TOLD:
        if re.search(pattern, text):
            return StageError(f"{what}: {_short(text)}", where=_place(text, error), do=do)
    return None


def _short(text: str) -> str:
    """The line that says it: torch lists every mismatch of a model, safetensors nests three errors."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = next((line for line in lines if any(re.search(pattern, line) for pattern, *_ in _TOLD)), lines[0])
    return line if len(line) <= 300 else f"{line[:300]} …"


def _place(text: str, error: BaseException) -> str:
    path = re.search(r"['\"](/[^'\"]+)['\"]", text)
    if path:
        return path[1]
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return f"{last[0].filename}:{last[0].lineno}" if last else ""
