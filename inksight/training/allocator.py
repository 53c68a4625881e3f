"""Memory that one training step frees is kept for the next.

The C library gives large freed blocks back to the kernel at once, and the kernel has to zero their pages again in the
next step, which frees and takes the same blocks: up to a third of a step's time on a CPU (benchmarks/allocator.py).

Not guaranteed: any effect where the C library is not glibc; nothing is done there.
"""

from __future__ import annotations

import ctypes

# From glibc's malloc.h. Both numbers are more than a step of ours ever takes as one block, or frees.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_BLOCK, _FREE = 2**30, 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep what it frees; returns whether the C library knows how."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    return bool(library.mallopt(_MMAP_THRESHOLD, _BLOCK)) and bool(library.mallopt(_TRIM_THRESHOLD, _FREE))


def give_back_memory() -> None:
    """Give the kernel what was freed until now, before something else needs memory."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
