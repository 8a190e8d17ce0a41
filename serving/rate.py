"""How often each client may ask: a bucket of `burst` tokens that fills at `per_second`."""

from collections import OrderedDict

MAX_CLIENTS = 10_000  # that are remembered; the one that was away longest is forgotten


class Rate:
    """Kept as the moment at which a bucket is full again, one number for each client.

    That is the generic cell rate algorithm, which counts as a token bucket does.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._seconds = 1 / per_second  # that one token takes
        self._most = burst * self._seconds
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, client: str, now: float) -> float:
        """Take a token at `now`, in seconds of any clock; 0, or how long to wait for one."""
        full_at = max(self._full_at.get(client, now), now) + self._seconds
        wait = full_at - now - self._most
        if wait > 1e-9:
            return wait
        self._full_at[client] = full_at
        self._full_at.move_to_end(client)
        if len(self._full_at) > MAX_CLIENTS:
            self._full_at.popitem(last=False)
        return 0.0
