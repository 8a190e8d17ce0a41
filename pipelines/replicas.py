"""The servers of a shop, asked over HTTP what they serve and how a candidate does."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from pipelines.operator_key import as_operator
from pipelines.settings import Settings
from serving.tally import OUTCOMES

TIMEOUT_SECONDS = 5
NO_KEY = "no operator's key is known here; set serve.operator_keys as the server has it"
PARTS = {"champion", "pending", "candidate", "unfit", "figures"}  # of an answer


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
        counts = {name: sum(part[name] for part in parts) for name in OUTCOMES}
        answered = counts["answered"]
        timed = sum(part["p99_ms"] * part["answered"] for part in parts if part["answered"])
        return cls(**counts, p99_ms=timed / answered if answered else None)


@dataclass(frozen=True)
class Comparison:
    """The champion and the candidate since the candidate came."""

    champion: Tally = Tally()
    candidate: Tally = Tally()
    compared: int = 0  # questions that both were asked
    overlap: float | None = None  # mean share of answers that both gave


@dataclass(frozen=True)
class Replica:
    """What one server told; None where it told nothing, and `fault` says why."""

    url: str
    told: Mapping[str, Any] | None
    fault: str | None = None

    @property
    def champion(self) -> str | None:
        """The digest of what it serves."""
        return self._part("champion").get("digest")

    @property
    def candidate(self) -> str | None:
        """The digest of what it tries beside."""
        return self._part("candidate").get("digest")

    @property
    def refused(self) -> list[Mapping[str, Any]]:
        """`bundle` and `error` of each that it is to load and cannot."""
        return [part for part in map(self._part, ("pending", "unfit")) if part]

    def serves(self, digest: str) -> bool:
        return self.champion == digest

    def tries(self, digest: str, action: str) -> bool:
        """Does it have the candidate, in this part of the rollout?"""
        return self.candidate == digest and self._part("candidate")["action"] == action

    def refusal(self, digest: str) -> str | None:
        """Why it does not load this bundle; None where it does not say so."""
        for refused in self.refused:
            if refused["bundle"] == digest:
                return f"{self.url} cannot load it: {refused['error']}"
        return None

    def _part(self, name: str) -> Mapping[str, Any]:
        return (self.told or {}).get(name) or {}


def ask_replicas(settings: Settings) -> list[Replica]:
    """Each of `rollout.replicas`, or the server of `serve`."""
    default = f"http://{settings.serve.host}:{settings.serve.port}"
    urls = settings.rollout.replicas or (default,)
    headers = as_operator(settings)
    if not headers:
        return [Replica(url, None, NO_KEY) for url in urls]
    with httpx.Client(timeout=TIMEOUT_SECONDS, headers=headers) as client:
        return [_ask(client, url) for url in urls]


def compare(replicas: Iterable[Replica], digest: str) -> Comparison:
    """The figures of all replicas that have this candidate, as one."""
    figures = [
        replica.told["figures"]
        for replica in replicas
        if replica.told and replica.candidate == digest
    ]
    compared = sum(part["compared"] for part in figures)
    overlaps = sum(part["overlap"] * part["compared"] for part in figures if part["compared"])
    return Comparison(
        champion=Tally.joined(part["champion"] for part in figures),
        candidate=Tally.joined(part["candidate"] for part in figures),
        compared=compared,
        overlap=overlaps / compared if compared else None,
    )


def _ask(client: httpx.Client, url: str) -> Replica:
    try:
        answer = client.get(f"{url.rstrip('/')}/v1/rollout")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Replica(url, None, f"no answer, {str(error) or type(error).__name__}")
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return Replica(
            url, None, f"status {answer.status_code}: the key here is no operator's there"
        )
    if answer.status_code != httpx.codes.OK:
        return Replica(url, None, f"status {answer.status_code} for /v1/rollout")
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or not body.keys() >= PARTS:
        return Replica(url, None, "something else listens there: no answer of /v1/rollout")
    return Replica(url, body)
