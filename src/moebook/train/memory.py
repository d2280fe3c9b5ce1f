"""Memory that a training step finds warm: on Linux, freed blocks are kept, and lie on large pages.

A step frees and asks for the same blocks over and over. By default the C library hands large ones back to the
system, which then clears them page by page, several hundred thousand faults a second; and weights of many
experts on pages of 4 KiB keep missing the address cache. Both cost sparse models more than dense ones.
"""

from __future__ import annotations

import ctypes
import platform

RESERVED_BYTES = 1 << 30  # of addresses; the system gives memory when they are first written to
PAGE_BYTES = 1 << 21
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # <malloc.h>
_MADV_HUGEPAGE = 14  # <sys/mman.h>


def keep_memory_warm(reserved_bytes: int = RESERVED_BYTES) -> bool:
    """Change how this process allocates; True where that could be done (Linux with the GNU C library).

    Numbers do not depend on it. Memory that was once used stays with the process until it ends.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    kept = all(
        libc.mallopt(option, value)
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 1 << 26))
    )
    block = libc.malloc(reserved_bytes)
    if not block:
        return False
    start = -(-block // PAGE_BYTES) * PAGE_BYTES
    large = libc.madvise(start, (block + reserved_bytes - start) // PAGE_BYTES * PAGE_BYTES, _MADV_HUGEPAGE)
    libc.free(block)
    return bool(kept) and large == 0
