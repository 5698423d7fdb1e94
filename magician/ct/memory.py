"""Memory that a step has freed, given back to the system.

glibc's malloc keeps what is freed, in case the next step wants it. A kernel that works with volumes
then holds hundreds of megabytes that nobody uses, and twelve of them share a computer in a class.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

# Options of mallopt(3), and their values
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
SMALL_BLOCK = 256 * 1024  # bytes; half of an image
LARGEST_BLOCK = 32 * 1024**2  # bytes; the highest threshold that glibc takes


@contextlib.contextmanager
def reuse_freed_memory() -> Iterator[None]:
    """Let a computation use freed memory again; after it, free memory goes back to the system.

    From then on each block above `SMALL_BLOCK` goes back as soon as it is freed. A computation that
    works so would take half as long again. Only Linux with glibc; elsewhere nothing changes.
    """
    _set_thresholds(LARGEST_BLOCK)
    try:
        yield
    finally:
        _set_thresholds(SMALL_BLOCK)


def _set_thresholds(size: int) -> None:
    if sys.platform == "linux":
        # AttributeError: another C library has no such functions
        with contextlib.suppress(AttributeError, OSError):
            libc = ctypes.CDLL(None)
            libc.mallopt(M_MMAP_THRESHOLD, size)
            libc.mallopt(M_TRIM_THRESHOLD, 2 * size)
            if size == SMALL_BLOCK:
                libc.malloc_trim(0)
