"""A server of its own: what it is told, and what is said of one that does not come up."""

import json
import os
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from model.errors import LookalikeError
from pipelines.server_process import free_port, server_process

TELLS_ITS_ENVIRONMENT = """
import http.server, json, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps([dict(os.environ), sorted(os.sched_getaffinity(0))]).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

http.server.HTTPServer(("127.0.0.1", int(sys.argv[-1])), Handler).serve_forever()
"""
COMMAND = (sys.executable, "-c", TELLS_ITS_ENVIRONMENT)


def test_it_has_no_settings_but_those_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rehearsal must not open the live store of the shop, which this process was told of."""
    monkeypatch.setenv("LOOKALIKE_LIVE__URL", "postgresql+psycopg://shop@db/live")
    monkeypatch.setenv("lookalike_serve__requests_per_second", "1")
    monkeypatch.setenv("SEEN", "yes")
    given = {"LOOKALIKE_ROOT": str(tmp_path)}
    address = ("127.0.0.1", free_port(), tmp_path / "log")
    with server_process(given, *address, seconds=30, command=COMMAND) as server:
        environment, cores = json.loads(httpx.get(server.url).content)
        assert psutil.pid_exists(server.pid)
    assert not psutil.pid_exists(server.pid)
    ours = {name: value for name, value in environment.items() if "lookalike_" in name.lower()}
    assert ours == given
    assert (environment["SEEN"], environment["BENTOML_DO_NOT_TRACK"]) == ("yes", "True")
    assert cores == sorted(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("code", "seconds", "end"),
    [
        ("raise SystemExit('no bundle')", 30, "no bundle\n"),
        ("import time; time.sleep(60)", 0.2, ""),
    ],
)
def test_one_that_does_not_come_up_is_named_with_its_last_words(
    tmp_path: Path, code: str, seconds: float, end: str
) -> None:
    port, log = free_port(), tmp_path / "log"
    with (
        pytest.raises(LookalikeError) as caught,
        server_process(
            {}, "127.0.0.1", port, log, seconds=seconds, command=(sys.executable, "-c", code)
        ),
    ):
        pass
    message = str(caught.value)
    assert message == (
        f"The server at http://127.0.0.1:{port} was not ready within {seconds:g} s. "
        f"Is the port in use? The end of {log}:\n{end}"
    )
