"""Who may ask: keys for search, which a shop may leave out, and for operators, which it may not.

A setting holds `name:secret` pairs with commas between them. To rotate a key, add a second pair,
give it to those who use the first, and take the first away.
"""

import hmac
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from hashlib import sha256

MIN_SECRET, MAX_SECRET = 24, 500  # characters
NAME, PRINTABLE = r"[\w.@-]{1,64}", r"[!-+\--~]"  # but a comma
PAIR = re.compile(rf"({NAME}):({PRINTABLE}{{1,{MAX_SECRET}}})", re.ASCII)
OF_SESSIONS = b"lookalike session"
HOW = "python -c \"import secrets; print('operator:' + secrets.token_urlsafe(32))\""


@dataclass(frozen=True)
class Key:
    """What is known of a key; its secret is forgotten."""

    name: str
    operator: bool
    digest: bytes  # of the secret
    of_sessions: bytes  # derived from the secret; signs what serving/sessions.py gives out


class Keys:
    """The keys of a server."""

    def __init__(
        self, operators: Iterable[tuple[str, str]], searchers: Collection[tuple[str, str]]
    ) -> None:
        """Of (name, secret) pairs. Raises ValueError when a name or a secret comes twice."""
        self.search_is_open = not searchers
        self._keys = [_key(pair, operator=True) for pair in operators]
        self._keys += [_key(pair, operator=False) for pair in searchers]
        if len({key.name for key in self._keys}) < len(self._keys):
            raise ValueError("Two keys have one name. Expected another for each key.")
        if len({key.digest for key in self._keys}) < len(self._keys):
            raise ValueError("Two keys have one secret. Expected another for each key.")

    @property
    def searchers(self) -> list[Key]:
        """The keys that may only search."""
        return [key for key in self._keys if not key.operator]

    def find(self, secret: bytes) -> Key | None:
        """The key with this secret, in a time that says nothing of the secrets."""
        digest = sha256(secret).digest()
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def read_pairs(text: str) -> list[tuple[str, str]]:
    """(name, secret) of `name:secret,name:secret`. Raises ValueError that never shows a secret."""
    pairs = []
    for number, part in enumerate(text.split(","), 1):
        match = PAIR.fullmatch(part.strip())
        if match is None:
            raise ValueError(
                f"Key {number} is no `name:secret`. Expected a name of letters, digits and `_.@-`, "
                f"a colon, and printable characters without a comma."
            )
        if len(match[2]) < MIN_SECRET:
            raise ValueError(
                f"The secret of key {match[1]!r} is too short. Expected at least {MIN_SECRET} "
                f"characters. Received: {len(match[2])}."
            )
        pairs.append((match[1], match[2]))
    return pairs


def _key(pair: tuple[str, str], *, operator: bool) -> Key:
    name, secret = pair
    data = secret.encode()
    return Key(name, operator, sha256(data).digest(), hmac.digest(data, OF_SESSIONS, "sha256"))
