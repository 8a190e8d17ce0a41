"""What is released, what it was measured at, and what the server really serves."""

import json
import urllib.error
import urllib.request
from typing import Any

from pipelines.operator_key import as_operator
from pipelines.registry import versions
from pipelines.settings import Settings
from serving.bundle import MANIFEST
from serving.ledger import champion, read_ledger

REPLICA_TIMEOUT_SECONDS = 2


def status(settings: Settings) -> dict[str, Any]:
    """The champion, every bundle with its stage and gate figures, and the replica's answer."""
    now = champion(settings.root)
    bundles = [_bundle(settings, version) for version in versions(settings)]
    production = next((row for row in bundles if now and row["bundle"] == now.bundle), None)
    return {
        "root": str(settings.root),
        "production": production,
        "bundles": bundles,
        "ledger": [entry.model_dump(mode="json") for entry in read_ledger(settings.root)],
        "replicas": [_replica(settings)],
    }


def _bundle(settings: Settings, version: Any) -> dict[str, Any]:
    digest = version.tags.get("bundle", "")
    row: dict[str, Any] = {
        "version": str(version.version),
        "bundle": digest,
        "stage": version.current_stage,
        "ds": version.tags.get("ds"),
        "space_id": version.tags.get("space_id"),
        "trained": version.tags.get("trained"),
    }
    try:
        manifest = json.loads((settings.root / "bundles" / digest / MANIFEST).read_bytes())
    except FileNotFoundError:
        return row | {"stored": False}
    verdict = manifest["verdict"]
    return row | {
        "stored": True,
        "items": sum(manifest["counts"].values()),
        "index": manifest["index"],
        "recall_at_10": {
            part["slice"]: {name: part[name] for name in ("recall", "lower_bound", "queries")}
            for part in verdict["slices"]
        },
        "p99_ms": verdict["latency_ms"]["p99"],
    }


def _replica(settings: Settings) -> dict[str, Any]:
    url = f"http://{settings.serve.host}:{settings.serve.port}"
    try:
        asked = urllib.request.Request(f"{url}/v1/bundle", headers=as_operator(settings))
        with urllib.request.urlopen(asked, timeout=REPLICA_TIMEOUT_SECONDS) as answer:
            body = json.load(answer)
        return {"url": url, "serves": body["digest"], "pending": body.get("pending")}
    except (urllib.error.URLError, OSError, ValueError, KeyError, TypeError) as error:
        return {"url": url, "serves": None, "error": str(error)}
