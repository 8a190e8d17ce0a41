"""Memory and pauses of a server that runs for weeks."""

import ctypes
import gc
from functools import cache
from typing import Any

LARGE = 2**20  # bytes
MMAP_THRESHOLD = -3  # its number in malloc.h


def keep_large_apart() -> None:
    """From now on whatever is large has pages of its own, which are returned when it is freed.

    Left to itself the C library raises what it calls large up to the size of the last one freed:
    after a few bundles all that a bundle needs lies among the small, and the gaps stay.
    """
    library = _c_library()
    if library is not None:
        library.mallopt(MMAP_THRESHOLD, LARGE)


def settle_down() -> None:
    """After something large was loaded, and something else let go.

    What is there now stays: the collector need not look at it again, which stops every thread for
    a tenth of a second each time. Engines go without a collector, when nobody holds them. And the
    pages of what was freed are returned; the C library keeps them for itself.
    """
    gc.freeze()
    library = _c_library()
    if library is not None:
        library.malloc_trim(0)


@cache
def _c_library() -> Any:
    """None where it is not glibc."""
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None
