"""HTTP for a rollout: how the candidate does beside the champion, for operators."""

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from serving.access import require_operator
from serving.champion import Champion, Pending
from serving.ledger import Entry
from serving.parameters import check_names
from serving.responses import Json


class RolloutApi:
    """`GET /v1/rollout` of one replica."""

    def __init__(self, champion: Champion) -> None:
        self._champion = champion

    async def get(self, request: Request) -> Response:
        require_operator(request)
        check_names(request)
        serves, beside = self._champion.current, self._champion.candidate
        body: dict[str, Any] = {
            "champion": serves and _named(serves.entry),
            "pending": _refusal(self._champion.pending),
            "candidate": beside and _named(beside.loaded.entry),
            "unfit": _refusal(self._champion.unfit),
            "figures": beside and beside.facts(),
        }
        return Json(body)


def _named(entry: Entry) -> dict[str, Any]:
    facts = {"digest": entry.bundle, "version": entry.version, "action": entry.action}
    return facts | {"at": entry.at.isoformat(), "share": entry.share}


def _refusal(pending: Pending | None) -> dict[str, Any] | None:
    return None if pending is None else asdict(pending)
