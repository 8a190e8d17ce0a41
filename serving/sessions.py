"""Sessions: a browser that has shown a key of search may search for a while without the secret.

    token = issue(key, now)           # into a cookie; it holds no secret and no name
    key = holder(keys, token, now)    # whose it is, while it lasts

A token is `END.SIGNATURE`: a time in seconds since 1970, and an HMAC-SHA256 of that time and the
key's name under a key that is derived from the secret. The server keeps nothing of it: replicas
and restarts agree, and who rotates, renames or removes a key ends its sessions. Keys of operators
have none, so no cookie ever changes the catalogue.
"""

import hmac
import re

from serving.keys import Key, Keys

COOKIE = "lookalike_session"
SESSION_SECONDS = 7 * 86_400
TOKEN = re.compile(r"(\d{1,12})\.([0-9a-f]{64})", re.ASCII)


def issue(key: Key, now: float) -> str:
    """A token of `SESSION_SECONDS` from `now`, seconds since 1970. Raises ValueError."""
    if key.operator:
        raise ValueError(
            f"A session is for search. Expected a key of search. Received the operator's "
            f"{key.name!r}. Send an operator's key with each request instead."
        )
    end = int(now) + SESSION_SECONDS
    return f"{end}.{_signature(key, end)}"


def holder(keys: Keys, token: str, now: float) -> Key | None:
    """The key that the token was issued for; None once it is over, and for any other text."""
    match = TOKEN.fullmatch(token)
    if match is None:
        return None
    end, found = int(match[1]), None
    for key in keys.searchers:
        if hmac.compare_digest(_signature(key, end), match[2]):
            found = key
    return found if now < end else None


def _signature(key: Key, end: int) -> str:
    return hmac.new(key.of_sessions, f"{end} {key.name}".encode(), "sha256").hexdigest()
