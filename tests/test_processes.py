"""`make up` and `make down` with real processes: three pages, no second copy, nothing left over."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from machine import Machine

from pipelines.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture
def machine(shop_copy: Callable[[], Settings]) -> Iterator[Machine]:
    machine = Machine(shop_copy().root.resolve())
    yield machine
    machine("down")


def test_up_twice_then_down_twice(machine: Machine) -> None:
    first = machine("up")
    shown = [f"{name:<8} {url}" for name, url in machine.urls.items()]
    assert first.stdout.splitlines() == [*shown, "Stop them with `make down`."], first.stderr
    titles = {n: httpx.get(url, follow_redirects=True).text for n, url in machine.urls.items()}
    assert [name for name, page in titles.items() if "<title>" not in page] == []
    served = httpx.get(f"{machine.urls['search']}/v1/bundle").json()
    assert served["version"] == "1"

    supervisor, running = machine.supervisor(), machine.processes()
    again = machine("up")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert machine.supervisor() == supervisor
    assert machine.socket().exists()

    assert machine("down").stdout == "Stopped.\n"
    assert [process for process in running if process.is_running()] == []
    assert not machine.socket().exists()
    assert not (machine.root / "supervisord.pid").exists()
    down = machine("down")
    assert (down.returncode, down.stdout) == (0, "Nothing runs.\n")
