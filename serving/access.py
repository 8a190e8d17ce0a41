"""Before every route: whose request it is, whether that is allowed, and how often.

What shows nothing of the catalogue is open to everybody who reaches the port: the page and its
files, health, /openapi.json, and /metrics, which counts without names; and /v1/session, which has a
rate of its own. All else takes a key of search or of an operator once the shop has set keys for
search, and counts towards the rate. A session stands for its key of search, never for an operator.
"""

import math
import time
from ipaddress import IPv6Address

from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.edge import Faults
from serving.keys import Key
from serving.rate import Rate
from serving.rejected import Rejected
from serving.sessions import COOKIE, holder
from serving.settings import Serve

OPEN = frozenset({"/", "/livez", "/readyz", "/metrics", "/openapi.json", "/v1/session"})
OPEN_BELOW = "/static/"
CHALLENGE = {"WWW-Authenticate": "Bearer"}
KEY = "lookalike.key"  # where the scope has it
HOW = "Send it as `Authorization: Bearer SECRET`."


class Access:
    """Inside `Edge`, which counts what is refused here."""

    def __init__(self, app: ASGIApp, serve: Serve, faults: Faults) -> None:
        self._app = app
        self._keys = serve.keys
        often = serve.requests_per_second
        self._rate = Rate(often, serve.request_burst) if often is not None else None
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                if takes_a_key(scope["path"]):
                    self._admit(scope)
            except Rejected as refusal:
                answer = await self._faults.rejected(Request(scope), refusal)
                return await answer(scope, receive, send)
        await self._app(scope, receive, send)

    def _admit(self, scope: Scope) -> None:
        secret = _secret(scope)
        key = self._in_session(scope) if secret is None else self._keys.find(secret)
        scope[KEY] = key
        if key is None and not self._keys.search_is_open:
            raise _unknown(secret)
        if self._rate is not None:
            wait = self._rate.take(_client(scope, key), time.monotonic())
            if wait:
                raise too_often(wait)

    def _in_session(self, scope: Scope) -> Key | None:
        """The search key whose session this is. Raises Rejected when that is over."""
        if self._keys.search_is_open:
            return None
        token = HTTPConnection(scope).cookies.get(COOKIE)
        if token is None:
            return None
        key = holder(self._keys, token, time.time())
        if key is None:
            raise Rejected(
                401,
                "session_over",
                "This session is over: its time is up, or its key is no longer in use. Expected a "
                "newer one. Show a search key to POST /v1/session.",
                CHALLENGE,
            )
        return key


def takes_a_key(path: str) -> bool:
    """Once the shop has set keys for search."""
    return path not in OPEN and not path.startswith(OPEN_BELOW)


def require_operator(request: Request) -> str:
    """The name of the operator's key. Raises Rejected without one: 401, or 403 for a searcher's."""
    key: Key | None = request.scope.get(KEY)
    if key is None:
        raise _unknown(_secret(request.scope))
    if not key.operator:
        raise Rejected(
            403,
            "not_an_operator",
            f"The key {key.name!r} may only search. Expected an operator's key. {HOW}",
        )
    return key.name


def _secret(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, secret = value.partition(b" ")
            return secret.strip() if scheme.lower() == b"bearer" else b""
    return None


def _client(scope: Scope, key: Key | None) -> str:
    if key is not None:
        return f"key {key.name}"
    return address(scope)


def address(scope: Scope) -> str:
    """Whom a request without a key counts for."""
    sender: str = (scope.get("client") or ("nobody",))[0]
    return _network(sender) if ":" in sender else sender


def _network(sender: str) -> str:
    """One household or server has all addresses of a /64."""
    try:
        number = IPv6Address(sender)
    except ValueError:  # a gateway may write what it likes into X-Forwarded-For
        return sender[:64]
    return str(number.ipv4_mapped or int(number) >> 64)


def _unknown(secret: bytes | None) -> Rejected:
    if secret is None:
        return Rejected(401, "no_key", f"This takes a key. Received none. {HOW}", CHALLENGE)
    return Rejected(
        401, "wrong_key", f"No key has this secret. Expected one that is in use. {HOW}", CHALLENGE
    )


def too_often(wait: float) -> Rejected:
    """Once more in `wait` seconds."""
    seconds = math.ceil(wait)
    return Rejected(
        429,
        "rate_limited",
        f"Too many requests of this client. Try again in {seconds} seconds, and then less often.",
        {"Retry-After": str(seconds)},
    )
