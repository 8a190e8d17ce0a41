"""Memory of a server that runs for weeks: what is large is returned, and nothing stops for long."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is about glibc")

PROBE = """
import ctypes, sys
from serving.memory import keep_large_apart

class Figures(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "mapped",
        "usmblks", "fsmblks", "used", "free", "kept")]

library = ctypes.CDLL(None)
library.mallinfo2.restype = Figures
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
if sys.argv[1] == "apart":
    keep_large_apart()
library.free(library.malloc(20_000_000))
before = library.mallinfo2().mapped
block = library.malloc(4_000_000)
print(library.mallinfo2().mapped - before >= 4_000_000)
"""


@pytest.mark.parametrize(("how", "apart"), [("apart", "True"), ("as it is", "False")])
def test_what_is_large_has_pages_of_its_own_after_something_larger_went(
    how: str, apart: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, how], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == apart


def test_the_collector_leaves_alone_what_is_there() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import gc; from serving.memory import settle_down; settle_down(); "
            "print(gc.get_freeze_count() > 0, gc.isenabled())",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True", "True"]
