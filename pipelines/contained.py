"""A command whose end is the end of all that it started.

    python -m pipelines.contained airflow scheduler

A scheduler that is killed leaves its executor behind, which waits for tasks that nobody will send,
and tasks that the next scheduler starts again; a server leaves workers that hold its port. Who is
told to stop here tells the command.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

PARENT_DEATH_SIGNAL, CHILD_SUBREAPER = 1, 36  # PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER: prctl(2)
TOLD = (signal.SIGTERM, signal.SIGINT)  # to stop
GRACE_SECONDS = 20  # from being told to stop until what still runs is killed


def run(command: Sequence[str]) -> int:
    """Its exit code, once nothing is left of it."""
    _prctl(CHILD_SUBREAPER, 1)  # whose parent ends becomes a child of this process
    signal.pthread_sigmask(signal.SIG_BLOCK, TOLD)  # until there is somebody to tell
    child = subprocess.Popen(command, start_new_session=True, preexec_fn=_begin)

    def forward(number: int, frame: FrameType | None) -> None:
        os.kill(child.pid, number)
        signal.alarm(GRACE_SECONDS)

    for number in TOLD:
        signal.signal(number, forward)
    signal.signal(signal.SIGALRM, lambda number, frame: os.kill(child.pid, signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TOLD)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # its number stays its own until here
    for number in (*TOLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    child.wait()
    _end_children()
    return child.returncode


def end_with_parent() -> None:
    """Of a process that is being started: be told to stop when its parent ends, be that killed."""
    _prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _begin() -> None:
    end_with_parent()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TOLD)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def _end_children() -> None:
    """Until there are none: those of one that ends become ours."""
    with suppress(ChildProcessError):
        while True:
            for pid in _children():
                os.kill(pid, signal.SIGKILL)
            os.wait()


def _children() -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended
            # The name before `)` may be anything; then the state and the parent.
            if int(path.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                yield int(path.parent.name)


if __name__ == "__main__":
    code = run(sys.argv[1:])
    sys.exit(code if code >= 0 else 128 - code)  # as shells do for a signal
