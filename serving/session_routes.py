"""HTTP for the page: a key of search is shown once, and a cookie stands for it afterwards.

Scripts cannot read the cookie, and only pages of this site send it. It goes along with what an
`<img>` asks for, which no `Authorization` does.
"""

import time
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from serving.access import CHALLENGE, address, too_often
from serving.bodies import read_json
from serving.keys import MAX_SECRET, Key, Keys
from serving.limits import SIGN_IN_BURST, SIGN_INS_PER_SECOND
from serving.metrics import Metrics
from serving.parameters import check_names
from serving.rate import Rate
from serving.rejected import Rejected
from serving.responses import Json
from serving.sessions import COOKIE, SESSION_SECONDS, holder, issue

NO_STORE = {"Cache-Control": "no-store"}


class SessionApi:
    """`GET`, `POST` and `DELETE` of the browser's own session."""

    def __init__(self, keys: Keys, metrics: Metrics) -> None:
        self._keys = keys
        self._count = metrics.sign_ins
        self._rate = Rate(SIGN_INS_PER_SECOND, SIGN_IN_BURST)

    async def get(self, request: Request) -> Response:
        """Whether search takes a key, and the name of the one whose session this is."""
        check_names(request)
        key = holder(self._keys, request.cookies.get(COOKIE, ""), time.time())
        body = {"needs_key": not self._keys.search_is_open, "key": key and key.name}
        return Json(body, headers=NO_STORE)

    async def post(self, request: Request) -> Response:
        """A session for who shows a key of search."""
        check_names(request)
        secret = await read_secret(request)
        wait = self._rate.take(address(request.scope), time.monotonic())
        if wait:
            raise too_often(wait)
        try:
            key = self._searcher(secret)
        except Rejected:
            self._count.labels("refused").inc()
            raise
        self._count.labels("accepted").inc()
        return _begun(request, key)

    async def delete(self, request: Request) -> Response:
        """The browser forgets its session."""
        check_names(request)
        answer = Response(status_code=204, headers=NO_STORE)
        _set_cookie(answer, request, "", 0)
        return answer

    def _searcher(self, secret: bytes) -> Key:
        key = self._keys.find(secret)
        if key is None:
            raise Rejected(
                401,
                "wrong_key",
                "No key has this secret. Expected that of a search key which is in use. Ask the "
                "shop's team for one.",
                CHALLENGE,
            )
        if key.operator:
            raise Rejected(
                403,
                "not_a_search_key",
                f"A session is for search alone. Expected a search key. Received the operator's "
                f"key {key.name!r}. Send it as `Authorization: Bearer SECRET` with each request.",
            )
        return key


async def read_secret(request: Request) -> bytes:
    """The `key` of the body. Raises Rejected.

    Only of JSON, which no page of another site can send without being asked first.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Rejected(
            415, "not_json", f"Expected the type application/json. Received: {kind[:80]!r}."
        )
    body = await read_json(request)
    secret = body.get("key")
    if set(body) != {"key"} or not isinstance(secret, str) or not 1 <= len(secret) <= MAX_SECRET:
        raise Rejected(
            422,
            "invalid_key",
            f"Expected `key`: the secret of a search key, 1 to {MAX_SECRET} characters. "
            f"Received: {sorted(body)[:8]}.",
        )
    return secret.encode()


def _begun(request: Request, key: Key) -> Response:
    now = time.time()
    until = datetime.fromtimestamp(int(now) + SESSION_SECONDS, UTC)
    answer = Json({"key": key.name, "until": until.isoformat()}, 200, NO_STORE)
    _set_cookie(answer, request, issue(key, now), SESSION_SECONDS)
    return answer


def _set_cookie(answer: Response, request: Request, token: str, seconds: int) -> None:
    answer.set_cookie(
        COOKIE,
        token,
        max_age=seconds,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
