"""Memory and pauses of a server that runs for weeks."""

import ctypes
import gc


def settle_down() -> None:
    """After something large was loaded, and something else let go.

    What is there now stays: the collector need not look at it again, which stops every thread for
    a tenth of a second each time. Engines go without a collector, when nobody holds them. And the
    pages of what was freed are returned; the C library keeps them for itself.
    """
    gc.freeze()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except AttributeError:  # not glibc
        return
    trim(0)
