"""Pictures on disk that are used as a tensor: many sets of them take no more memory than what is looked at."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any


def stored(path: Path, pieces: Iterable[Any], count: int) -> Any:
    """`pieces` [n, 3, px, px], float32, written to `path` one after another: a tensor [count, 3, px, px] that reads from there.

    Its pages are the file's, which the system drops from memory when that runs short; `path` must stay while it is used.
    """
    import numpy as np
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    file, filled = None, 0
    for piece in pieces:
        if file is None:
            file = np.lib.format.open_memmap(path, "w+", np.float32, (count, *piece.shape[1:]))
        file[filled : filled + len(piece)] = piece.numpy()
        filled += len(piece)
    assert file is not None
    assert filled == count
    file.flush()
    return torch.from_numpy(np.load(path, mmap_mode="c"))
