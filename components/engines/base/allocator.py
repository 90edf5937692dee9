"""How the C library treats memory that tensors leave: kept for the next ones."""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_NEVER, _LARGEST = 2**31 - 1, 32 * 2**20  # bytes; glibc takes no higher threshold for mmap


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory instead of giving it back; whether it could be told to (other C libraries are left alone).

    By default activations of some MB are mapped and unmapped with every operation outside the main thread, and each page costs
    a fault: 5-10 % of the time of a map stage whose model has a few million parameters. Peak memory stays the same, and is
    held until the process ends.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # both: setting one alone ends glibc's own adjustment of the other, which is worse than nothing
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST) and mallopt(_M_TRIM_THRESHOLD, _NEVER))
