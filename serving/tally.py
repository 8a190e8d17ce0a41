"""What one bundle's answers were like: how many, how many failed, and how long they took."""

import threading
from collections import deque
from typing import Literal, get_args

import numpy as np

KEPT = 5000  # of the latest answers, for percentiles

Outcome = Literal["answered", "empty", "unknown", "failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class Tally:
    """Safe to write from several threads."""

    def __init__(self) -> None:
        self._counts: dict[Outcome, int] = dict.fromkeys(OUTCOMES, 0)
        self._seconds: deque[float] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def add(self, outcome: Outcome, seconds: float | None = None) -> None:
        """One more. `unknown`: the bundle does not have the item that was asked about."""
        with self._lock:
            self._counts[outcome] += 1
            if seconds is not None:
                self._seconds.append(seconds)

    def facts(self) -> dict[str, float | int | None]:
        """Counts, and the milliseconds of the latest answers; None without any."""
        with self._lock:
            counts = {str(outcome): count for outcome, count in self._counts.items()}
            seconds = list(self._seconds)
        p50, p99 = np.percentile(seconds, (50, 99)) if seconds else (None, None)
        return {**counts, "p50_ms": _milliseconds(p50), "p99_ms": _milliseconds(p99)}


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * float(seconds), 3)
