"""The real thing: `bentoml serve` over a bundle, as a shop runs it."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from test_metrics import EXPRESSIONS, metrics_in, scrape
from tiny_bundle import (
    Service,
    add_bundle,
    bentoml_environment,
    bentoml_service,
    decide,
    draw_photo,
    make_root,
    promote,
)

from pipelines.server_process import server_command


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def until_its_end() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def service(root: Path, until_its_end: ExitStack) -> Service:
    """For all tests; the last of this file ends it."""
    return until_its_end.enter_context(bentoml_service(root))


def wait_for_version(service: Service, version: str) -> dict[str, object]:
    deadline = time.monotonic() + 20
    while True:
        answer = httpx.get(f"{service.url}/v1/bundle")
        if answer.status_code == 200 and answer.json()["version"] == version:
            return dict(answer.json())
        assert time.monotonic() < deadline, service.log.read_text()
        time.sleep(0.05)


def processes(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += processes(int(child))
    return found


def test_every_path_is_ours(service: Service) -> None:
    kinds = {
        "/": "text/html; charset=utf-8",
        "/livez": "application/json",
        "/readyz": "application/json",
        "/metrics": "text/plain; version=1.0.0; charset=utf-8",
        "/openapi.json": "application/json",
        "/v1/bundle": "application/json",
        "/static/page.js": "text/javascript; charset=utf-8",
    }
    for path, kind in kinds.items():
        answer = httpx.get(service.url + path)
        assert (path, answer.status_code) == (path, 200)
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/schema.json", "/docs.json", "/healthz", "/static_content/x", "/nowhere"):
        message = f"Not Found: GET {path}. See /openapi.json."
        answer = httpx.get(service.url + path)
        assert answer.status_code == 404
        assert answer.json() == {"error": {"code": "not_found", "message": message}}


def test_search_by_photo_and_by_item(service: Service) -> None:
    photo = httpx.get(f"{service.url}/v1/items/item-008/image").content
    assert photo == draw_photo(8)
    answer = httpx.post(f"{service.url}/v1/search", params={"k": 3}, content=photo).json()
    assert [hit["item_id"] for hit in answer["hits"]] == ["item-008", "item-044", "item-038"]
    assert answer["category"][0]["path"] == "Home > Lamps > Pendants"
    similar = httpx.get(f"{service.url}/v1/items/item-008/similar", params={"k": 2}).json()
    assert similar["hits"] == answer["hits"][1:]
    assert similar["bundle"]["digest"] == answer["bundle"]["digest"]


def test_metrics_are_ours_and_no_item_id_becomes_a_series(service: Service) -> None:
    for number in range(20, 30):
        httpx.get(f"{service.url}/v1/items/item-0{number}/similar")
    text = httpx.get(f"{service.url}/metrics").text
    assert 'lookalike_requests_total{route="/v1/items/{item_id}/similar",status="200"}' in text
    assert "item-02" not in text
    assert "bentoml" not in text


def test_neither_tensorflow_nor_its_like_is_loaded(service: Service) -> None:
    pids = processes(service.pid)
    assert len(pids) >= 2
    maps = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in pids)
    assert "openvino" in maps
    assert "scann" in maps
    for name in ("libtensorflow", "/tensorflow/", "/keras/", "/apache_beam/", "/mlflow/"):
        assert name not in maps


def test_it_listens_on_this_machine_only(service: Service) -> None:
    port = httpx.URL(service.url).port
    assert port is not None
    listening = [
        line.split()[1]
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    ]
    assert listening == [f"0100007F:{port:04X}"]


def test_a_promotion_serves_within_seconds(service: Service, root: Path) -> None:
    digest = add_bundle(root, items=30)
    promote(root, digest, "2")
    bundle = wait_for_version(service, "2")
    assert (bundle["digest"], bundle["items"], bundle["pending"]) == (digest, 30, None)


def test_nothing_but_the_start_and_the_bundles_is_logged(service: Service) -> None:
    lines = service.log.read_text().splitlines()
    assert "bundle.serving" in lines[-1]
    assert len([line for line in lines if "Warning" in line or "rror" in line]) == 0


@pytest.mark.parametrize(
    ("variable", "messages"),
    [
        (
            "LOOKALIKE_ROOT",
            ["Cannot serve with this environment. LOOKALIKE_ROOT: Field required."],
        ),
        (
            "LOOKALIKE_SERVE__OPERATOR_KEYS",
            [
                "LOOKALIKE_SERVE__OPERATOR_KEYS: Field required.",
                "make one with: python -c",
            ],
        ),
    ],
)
def test_without_what_it_needs_it_says_so_and_ends(
    tmp_path: Path, variable: str, messages: list[str]
) -> None:
    environment = bentoml_environment(tmp_path)
    del environment[variable]
    ended = subprocess.run(
        server_command("127.0.0.1", 1),
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode != 0
    assert [message for message in messages if message not in ended.stderr] == []


def test_connections_are_ours(service: Service) -> None:
    url = httpx.URL(service.url)
    with socket.create_connection((url.host, url.port or 0)) as client:
        client.sendall(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 431 ")


def test_alerts_and_the_dashboard_name_what_is_exposed(service: Service, root: Path) -> None:
    decide(root, add_bundle(root, items=61), "3", "shadow", share=1)  # it has figures of its own
    deadline = time.monotonic() + 20
    while "lookalike_candidate_info" not in (exposed := {name for name, _ in scrape(service.url)}):
        assert time.monotonic() < deadline, service.log.read_text()
        time.sleep(0.05)
    named = {title: metrics_in(expression) for title, expression in EXPRESSIONS.items()}
    assert all(named.values())
    assert {title: names - exposed for title, names in named.items() if names - exposed} == {}


def test_it_ends_when_told_to(service: Service, until_its_end: ExitStack) -> None:
    pids = processes(service.pid)
    until_its_end.close()
    time.sleep(0.1)
    assert [pid for pid in pids if os.path.exists(f"/proc/{pid}")] == []
