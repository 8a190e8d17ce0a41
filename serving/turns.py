"""Whose turn a request is: the champion's, or that of a candidate in canary."""

import time
from collections.abc import Awaitable, Callable

from starlette.responses import Response

from model.errors import BadImage, BadInput
from serving.candidate import Again, Headers
from serving.champion import Champion
from serving.engine import Found
from serving.items import UnknownItem
from serving.loaded import Loaded
from serving.rejected import Rejected, unavailable

OF_THE_REQUEST = (Rejected, BadImage, BadInput)  # no bundle's fault

By = Callable[[Loaded], Awaitable[tuple[Response, Found]]]


class Turns:
    """Each request takes one bundle once, so that an answer is all of one bundle."""

    def __init__(self, champion: Champion) -> None:
        self._champion = champion

    def loaded(self) -> Loaded:
        """The champion. Raises Rejected where there is none."""
        loaded, pending = self._champion.current, self._champion.pending
        if loaded is None:
            raise unavailable(
                "no_bundle",
                f"No bundle serves. {pending.error if pending else 'None is loaded yet.'} "
                f"Promote one; it serves within seconds.",
            )
        return loaded

    def knowing(self, item_id: str) -> Loaded:
        """The champion; the candidate for what only it has, as shoppers may have seen it there."""
        loaded, candidate = self.loaded(), self._champion.candidate
        if candidate is None or not candidate.in_canary:
            return loaded
        known = [each.engine.items.find(item_id) is not None for each in (loaded, candidate.loaded)]
        return candidate.loaded if known == [False, True] else loaded

    async def answer(self, headers: Headers, by: By, again: Again) -> Response:
        """What `by` makes of the bundle whose turn it is.

        A candidate's failure no shopper sees: the champion answers then. `again`: the same
        question, for the candidate in shadow.
        """
        loaded, candidate = self.loaded(), self._champion.candidate
        if candidate is None:
            return (await by(loaded))[0]
        started = time.perf_counter()
        if candidate.takes(headers):
            try:
                response, found = await by(candidate.loaded)
            except OF_THE_REQUEST:
                raise
            except Exception as error:
                candidate.failed(error)
            else:
                candidate.answered(time.perf_counter() - started, found)
                return response
            started = time.perf_counter()
        try:
            response, found = await by(loaded)
        except (*OF_THE_REQUEST, UnknownItem):
            raise
        except Exception:
            candidate.champion.add("failed")
            raise
        candidate.compare(loaded.engine, found, time.perf_counter() - started, again)
        return response
