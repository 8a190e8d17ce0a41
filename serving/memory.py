"""Memory that is free, given back to the machine."""

import ctypes


def give_back() -> None:
    """Return the pages of what was freed; the C library keeps them for itself.

    Nothing is collected first: that stops every thread for as long as it takes to look at every
    object, and an engine needs no collector to go.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except AttributeError:  # not glibc
        return
    trim(0)
