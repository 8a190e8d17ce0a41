"""What a command started ends with it, whether it ended by itself, was killed or told to stop."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

SLEEPS = "import time; time.sleep(600)"
IN_HASTE = """
import runpy, sys, signal
alarm = signal.alarm
signal.alarm = lambda seconds: alarm(min(seconds, 1))
runpy.run_module("pipelines.contained", run_name="__main__")
"""
# A child, and one in a session of its own whose parent ends at once.
FAMILY = f"""
import signal, subprocess, sys
sleep = [sys.executable, "-c", {SLEEPS!r}]
subprocess.Popen(sleep)
subprocess.run([sys.executable, "-c",
    f"import subprocess; subprocess.Popen({{sleep}}, start_new_session=True)"])
print("ready", flush=True)
"""


@pytest.fixture
def started(request: pytest.FixtureRequest) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", IN_HASTE, sys.executable, "-c", FAMILY + request.param],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def wait_for(process: "subprocess.Popen[str]", count: int) -> list[psutil.Process]:
    deadline = time.monotonic() + 20
    while len(found := family(process)) != count:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("started", [SLEEPS], indirect=True)
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, 128 + signal.SIGKILL), (signal.SIGTERM, 143)]
)
def test_the_command_is_killed(
    started: "subprocess.Popen[str]", number: signal.Signals, code: int
) -> None:
    members = wait_for(started, 3)
    command = next(each for each in members if "subprocess.run" in " ".join(each.cmdline()))
    command.send_signal(number)
    assert started.wait(20) == code
    assert [each for each in members if each.is_running()] == []


@pytest.mark.parametrize("started", [SLEEPS], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_is_told_to_stop(started: "subprocess.Popen[str]", number: signal.Signals) -> None:
    members = wait_for(started, 3)
    started.send_signal(number)
    assert started.wait(20) == 128 + number
    assert [each for each in members if each.is_running()] == []


@pytest.mark.parametrize("started", ["sys.stdin.read(); sys.exit(7)"], indirect=True)
def test_it_ends_by_itself_with_its_own_code(started: "subprocess.Popen[str]") -> None:
    members = wait_for(started, 3)
    assert started.stdin is not None
    started.stdin.close()
    assert started.wait(20) == 7
    assert [each for each in members if each.is_running()] == []


@pytest.mark.parametrize(
    "started", [f"signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"], indirect=True
)
def test_who_does_not_stop_when_told_is_killed(started: "subprocess.Popen[str]") -> None:
    members = wait_for(started, 3)
    time.sleep(0.5)  # until it ignores us
    started.terminate()
    assert started.wait(20) == 128 + signal.SIGKILL
    assert [each for each in members if each.is_running()] == []


@pytest.mark.parametrize("started", [SLEEPS], indirect=True)
def test_who_is_killed_takes_the_command_along(started: "subprocess.Popen[str]") -> None:
    members = wait_for(started, 3)
    command = next(each for each in members if "subprocess.run" in " ".join(each.cmdline()))
    started.kill()
    started.wait(20)
    command.wait(20)
    for each in members:  # nobody is left to end these
        if each.is_running():
            os.kill(each.pid, signal.SIGKILL)
