"""What `lookalike status` knows: bundles, stages, figures, decisions, the replica's own word."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import CopyShop
from tiny_shop import DAY_1, DAY_2

from pipelines.bundle import bundle_digest
from pipelines.server_process import free_port
from pipelines.settings import Serve, Settings
from pipelines.status import status
from pipelines.step import Partition
from serving.ledger import read_ledger


@contextmanager
def replica(answer: bytes) -> Iterator[int]:
    """A server that answers GET /v1/bundle with these bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/v1/bundle"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(answer if found else b"")

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def seen(settings: Settings, port: int) -> dict[str, Any]:
    return status(settings.model_copy(update={"serve": Serve(port=port)}))


def row_of(settings: Settings, ds: Any, version: str, stage: str) -> dict[str, Any]:
    partition = Partition(settings, "index", ds)
    index, facts = partition.done(), json.loads((partition.output / "index.json").read_bytes())
    gate = Partition(settings, "gate", ds)
    verdict = json.loads((gate.output / "verdict.json").read_bytes())
    return {
        "version": version,
        "bundle": bundle_digest(settings, ds),
        "stage": stage,
        "ds": ds.isoformat(),
        "space_id": index.details["space_id"],
        "trained": DAY_1.isoformat(),
        "stored": True,
        "items": index.rows,
        "index": facts["description"],
        "recall_at_10": {
            row["slice"]: {name: row[name] for name in ("recall", "lower_bound", "queries")}
            for row in verdict["slices"]
        },
        "p99_ms": gate.done().details["p99_ms"],
    }


def test_everything_about_two_days(two_days: Settings) -> None:
    found = seen(two_days, port := free_port())
    (answer,) = found.pop("replicas")
    bundles = [
        row_of(two_days, DAY_2, "2", "Production"), row_of(two_days, DAY_1, "1", "Archived"),
    ]  # fmt: skip
    assert found == {
        "root": str(two_days.root),
        "production": bundles[0],
        "bundles": bundles,
        "ledger": [entry.model_dump(mode="json") for entry in read_ledger(two_days.root)],
    }
    assert (answer["url"], answer["serves"]) == (f"http://127.0.0.1:{port}", None)
    assert "refused" in answer["error"]
    assert json.loads(json.dumps(found)) == found


def test_what_the_replica_says_it_serves(shop: Settings) -> None:
    digest = bundle_digest(shop, DAY_1)
    with replica(json.dumps({"digest": digest, "pending": None}).encode()) as port:
        found = seen(shop, port)["replicas"]
        url = f"http://127.0.0.1:{port}"
    assert found == [{"url": url, "serves": digest, "pending": None}]


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[1]", b"{}"])
def test_something_else_listens_on_the_port(shop: Settings, answer: bytes) -> None:
    with replica(answer) as port:
        (found,) = seen(shop, port)["replicas"]
    assert found["serves"] is None
    assert found["error"]


def test_a_bundle_whose_files_are_gone(shop_copy: CopyShop) -> None:
    settings = shop_copy()
    digest = bundle_digest(settings, DAY_1)
    whole = row_of(settings, DAY_1, "1", "Production")
    shutil.rmtree(settings.root / "bundles" / digest)
    (row,) = seen(settings, free_port())["bundles"]
    names = ("version", "bundle", "stage", "ds", "space_id", "trained")
    assert row == {**{name: whole[name] for name in names}, "stored": False}


def test_before_the_first_day(tmp_path: Path) -> None:
    found = seen(Settings(root=tmp_path), free_port())
    del found["replicas"]
    assert found == {"root": str(tmp_path), "production": None, "bundles": [], "ledger": []}


def test_a_root_that_does_not_exist_yet(tmp_path: Path) -> None:
    found = seen(Settings(root=tmp_path / "new"), free_port())
    assert (found["production"], found["bundles"], found["ledger"]) == (None, [], [])
