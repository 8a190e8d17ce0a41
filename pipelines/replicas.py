"""The servers of a shop, asked over HTTP what they serve and how a candidate does."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from pipelines.operator_key import as_operator
from pipelines.settings import Settings

TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class Tally:
    """Answers of one bundle on all replicas; milliseconds weighted by their answers."""

    answered: int = 0
    empty: int = 0  # without a single item
    unknown: int = 0  # to questions about an item that the bundle does not have
    failed: int = 0
    p99_ms: float | None = None

    @property
    def asked(self) -> int:
        return self.answered + self.empty + self.unknown + self.failed

    @classmethod
    def joined(cls, tallies: Iterable[Mapping[str, Any]]) -> "Tally":
        parts = list(tallies)
        counts = {name: sum(part[name] for part in parts) for name in ("empty", "unknown")}
        timed = [(part["p99_ms"], part["answered"]) for part in parts if part["answered"]]
        answered = sum(part["answered"] for part in parts)
        p99 = sum(p99 * count for p99, count in timed) / answered if answered else None
        return cls(answered=answered, failed=sum(p["failed"] for p in parts), p99_ms=p99, **counts)


@dataclass(frozen=True)
class Comparison:
    """The champion and the candidate since the candidate came."""

    champion: Tally = Tally()
    candidate: Tally = Tally()
    compared: int = 0  # questions that both were asked
    overlap: float | None = None  # mean share of answers that both gave


@dataclass(frozen=True)
class Replica:
    """What one server told; `told` is None where it does not answer."""

    url: str
    told: Mapping[str, Any] | None

    def serves(self, digest: str) -> bool:
        return self._digest("champion") == digest

    def tries(self, digest: str, action: str) -> bool:
        """Does it have the candidate, in this part of the rollout?"""
        beside = (self.told or {}).get("candidate") or {}
        return self._digest("candidate") == digest and beside["action"] == action

    def refusal(self, digest: str) -> str | None:
        """Why it does not load this bundle; None where it does not say so."""
        for part in ("pending", "unfit"):
            refused = (self.told or {}).get(part) or {}
            if refused.get("bundle") == digest:
                return f"{self.url} cannot load it: {refused['error']}"
        return None

    def _digest(self, part: str) -> str | None:
        return ((self.told or {}).get(part) or {}).get("digest")


def ask_replicas(settings: Settings) -> list[Replica]:
    """Each of `rollout.replicas`, or the server of `serve`."""
    default = f"http://{settings.serve.host}:{settings.serve.port}"
    headers = as_operator(settings)
    with httpx.Client(timeout=TIMEOUT_SECONDS, headers=headers) as client:
        urls = settings.rollout.replicas or (default,)
        return [Replica(url, _told(client, url)) for url in urls]


def compare(replicas: Iterable[Replica], digest: str) -> Comparison:
    """The figures of all replicas that have this candidate, as one."""
    figures = [
        replica.told["figures"]
        for replica in replicas
        if replica.told and (replica.told["candidate"] or {}).get("digest") == digest
    ]
    compared = sum(part["compared"] for part in figures)
    overlaps = sum(part["overlap"] * part["compared"] for part in figures if part["compared"])
    return Comparison(
        champion=Tally.joined(part["champion"] for part in figures),
        candidate=Tally.joined(part["candidate"] for part in figures),
        compared=compared,
        overlap=overlaps / compared if compared else None,
    )


def _told(client: httpx.Client, url: str) -> Mapping[str, Any] | None:
    try:
        answer = client.get(f"{url.rstrip('/')}/v1/rollout")
        answer.raise_for_status()
        body: Mapping[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError):
        return None
    return body
