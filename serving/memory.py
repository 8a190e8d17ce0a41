"""Memory that is free, given back to the machine."""

import ctypes
import gc


def give_back() -> None:
    """Collect what nobody holds and return its pages; the C library keeps them for itself."""
    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except AttributeError:  # not glibc
        return
    trim(0)
