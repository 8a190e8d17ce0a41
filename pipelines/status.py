"""What is released, what it was measured at, what waits, and what the servers really serve."""

import json
from collections.abc import Iterator
from typing import Any

from pipelines.registry import stage_of, versions
from pipelines.replicas import Replica, ask_replicas
from pipelines.settings import Settings
from pipelines.waiting import waiting_for_review
from serving.bundle import MANIFEST
from serving.ledger import Entry, read_ledger, read_standing


def status(settings: Settings) -> dict[str, Any]:
    """For programs: the champion, every bundle with its stage and gate figures, and the rest."""
    now = read_standing(settings.root)
    bundles = [_bundle(settings, version) for version in versions(settings)]
    serving = now.champion and now.champion.bundle
    return {
        "root": str(settings.root),
        "production": next((row for row in bundles if row["bundle"] == serving), None),
        "bundles": bundles,
        "candidate": now.candidate and _candidate(now.candidate),
        "waiting": [
            {"version": each.version, "ds": str(each.ds), "bundle": each.bundle, "page": each.page}
            for each in waiting_for_review(settings)
        ],
        "ledger": [entry.model_dump(mode="json") for entry in read_ledger(settings.root)],
        "replicas": [_replica(each) for each in ask_replicas(settings)],
    }


def status_lines(facts: dict[str, Any]) -> Iterator[str]:
    """The same for people."""
    for row in facts["bundles"]:
        recall = row.get("recall_at_10", {}).get("all", {}).get("recall", "?")
        yield (
            f"version {row['version']:>3}  {row['stage']:<10}  {row['ds']}  bundle {row['bundle']}"
            f"  recall@10 {recall}"
        )
    for each in facts["waiting"]:
        yield (
            f"Version {each['version']} waits for a review: "
            f"lookalike review {each['version']} --approve|--reject --why TEXT"
        )
    candidate = facts["candidate"]
    if candidate is not None:
        yield (
            f"Version {candidate['version']} is in {candidate['mode']} with "
            f"{candidate['share']:.1%} of the queries since {candidate['since']}"
        )
    for replica in facts["replicas"]:
        yield from _replica_lines(replica)


def _replica_lines(replica: dict[str, Any]) -> Iterator[str]:
    if replica["fault"] is not None:
        yield f"{replica['url']} tells nothing: {replica['fault']}"
        return
    beside = f", and tries {replica['candidate']}" if replica["candidate"] else ""
    yield f"{replica['url']} serves {replica['serves'] or 'nothing'}{beside}"
    for refused in replica["refused"]:
        yield f"{replica['url']} cannot load {refused['bundle']}: {refused['error']}"


def _bundle(settings: Settings, version: Any) -> dict[str, Any]:
    digest = version.tags.get("bundle", "")
    row: dict[str, Any] = {
        "version": str(version.version),
        "bundle": digest,
        "stage": stage_of(version),
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


def _candidate(entry: Entry) -> dict[str, Any]:
    return {
        "version": entry.version,
        "bundle": entry.bundle,
        "ds": entry.ds.isoformat(),
        "mode": entry.action,
        "share": entry.share,
        "since": entry.at.isoformat(timespec="seconds"),
        "who": entry.who,
    }


def _replica(replica: Replica) -> dict[str, Any]:
    return {
        "url": replica.url,
        "serves": replica.champion,
        "candidate": replica.candidate,
        "refused": replica.refused,
        "fault": replica.fault,
    }
