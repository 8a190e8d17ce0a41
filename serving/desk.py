"""Where requests wait their turn: decoding in some threads, embedding and search each in one.

A photo is decoded beside others; the photos that are decoded are embedded together, and all
questions to the index are searched together. A photo that is alone takes the whole way in one
thread. Every queue is bounded, every request has a deadline.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from model.errors import LookalikeError
from model.pixels import Box
from serving import limits
from serving.batches import Batches, Closed, Overloaded, TooLate
from serving.embedder import Probabilities
from serving.engine import Ask, Engine, Found, Look
from serving.index import Vectors
from serving.metrics import Metrics
from serving.rejected import unavailable
from serving.selection import Wanted
from serving.stopwatch import Stopwatch

Made = TypeVar("Made")
Seen = tuple[Vectors, Probabilities]  # [d] and [leaves]


@dataclass(frozen=True)
class Question:
    """What is asked of an engine, made where it is answered: to look an item up takes time too."""

    engine: Engine
    ask: Callable[[Engine], Ask]
    item_id: str | None = None  # whose facts the reply has too


@dataclass(frozen=True)
class Reply:
    """What was found, and the same as JSON."""

    found: Found
    hits: bytes
    item: bytes | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


class Deadline:
    """When an answer is of no use any more."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return max(self._end - time.monotonic(), 0.001)


class Desk:
    """The stages, over whatever engine a request holds."""

    def __init__(self, seconds: float, metrics: Metrics) -> None:
        self._seconds = seconds
        self._decoders = ThreadPoolExecutor(limits.DECODE_THREADS, thread_name_prefix="decode")
        self._embeds: Batches[tuple[Engine, Look], Seen] = Batches(
            "embed",
            _embed,
            most=limits.EMBED_BATCH,
            waiting=limits.MAX_PHOTOS,
            sizes=metrics.batches.labels("embed"),
        )
        self._finds: Batches[Question, Reply] = Batches(
            "search",
            _find,
            most=limits.SEARCH_BATCH,
            waiting=limits.MAX_SEARCHES,
            sizes=metrics.batches.labels("search"),
        )
        self._photos = 0
        metrics.queue("photos", lambda: self._photos)
        metrics.queue("embed", lambda: len(self._embeds))
        metrics.queue("search", lambda: len(self._finds))

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place from before a photo is read. Raises Rejected when all are taken."""
        if self._photos >= limits.MAX_PHOTOS:
            raise _overloaded(f"with {limits.MAX_PHOTOS} photos")
        self._photos += 1
        try:
            yield
        finally:
            self._photos -= 1

    async def photo(
        self,
        engine: Engine,
        image: bytes,
        wanted: Wanted,
        box: Box | Literal["whole"] | None = None,
    ) -> tuple[Reply, Look, Probabilities]:
        """What looks like a photo, what was looked at, and leaf odds [leaves].

        Raises BadImage as `Engine.look` does, Rejected under load.
        """
        deadline = Deadline(self._seconds)
        if self._photos <= 1:
            work = self._decode(lambda: _alone(engine, image, wanted, box), deadline)
            return await self._turn(work, deadline)
        watch = Stopwatch()
        look = await self._turn(self._decode(lambda: engine.look(image, box), deadline), deadline)
        watch.lap("decode")
        vector, odds = await self._turn(self._embeds.ask((engine, look), deadline.left), deadline)
        watch.lap("embed")
        question = Question(engine, lambda _: Ask(vector, wanted))
        reply = await self._turn(self._finds.ask(question, deadline.left), deadline)
        watch.lap("search")
        return Reply(reply.found, reply.hits, seconds=watch.laps), look, odds

    async def find(self, question: Question) -> Reply:
        """What is near. Raises what the question raises, Rejected under load."""
        deadline = Deadline(self._seconds)
        started = time.perf_counter()
        reply = await self._turn(self._finds.ask(question, deadline.left), deadline)
        seconds = {"search": time.perf_counter() - started}
        return Reply(reply.found, reply.hits, reply.item, seconds)

    async def embed(self, engine: Engine, image: bytes, box: Box | None = None) -> Vectors:
        """The vector [d] of an item's photo: of the whole of it, or of what is in the box."""
        deadline = Deadline(self._seconds)
        work = self._decode(lambda: engine.look(image, box or "whole"), deadline)
        look = await self._turn(work, deadline)
        seen = await self._turn(self._embeds.ask((engine, look), deadline.left), deadline)
        return seen[0]

    def close(self) -> None:
        self._embeds.close()
        self._finds.close()
        self._decoders.shutdown()

    async def _decode(self, work: Callable[[], Made], deadline: Deadline) -> Made:
        try:
            future = self._decoders.submit(work)
        except RuntimeError:  # it was shut down
            raise Closed("decode") from None
        try:
            async with asyncio.timeout(deadline.left):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise TooLate("decode") from None

    async def _turn(self, work: Awaitable[Made], deadline: Deadline) -> Made:
        try:
            return await work
        except Closed:
            raise _overloaded("ending") from None
        except Overloaded:
            raise _overloaded(f"with {limits.MAX_SEARCHES} questions") from None
        except TooLate:
            raise unavailable(
                "deadline",
                f"No answer within {deadline.seconds:g} seconds. Try again, or with a smaller "
                f"photo.",
            ) from None


def _overloaded(by: str) -> Exception:
    return unavailable("overloaded", f"The server is busy {by}. Try again in a moment.")


def _alone(
    engine: Engine, image: bytes, wanted: Wanted, box: Box | Literal["whole"] | None
) -> tuple[Reply, Look, Probabilities]:
    """All stages in one thread: nobody else is there to be answered with."""
    seen = engine.see(image, wanted, box)
    reply = Reply(seen.found, engine.encoded(seen.found), seconds=seen.seconds)
    return reply, seen.look, seen.odds


def _embed(questions: Sequence[tuple[Engine, Look]]) -> list[Seen]:
    answers: dict[int, Seen] = {}
    for engine, numbers in _by_engine([engine for engine, _ in questions]).items():
        vectors, odds = engine.embed([questions[number][1] for number in numbers])
        answers |= dict(zip(numbers, zip(vectors, odds, strict=True), strict=True))
    return [answers[number] for number in range(len(questions))]


def _find(questions: Sequence[Question]) -> list[Reply | Exception]:
    replies: dict[int, Reply | Exception] = {}
    for engine, numbers in _by_engine([question.engine for question in questions]).items():
        asks: dict[int, Ask] = {}
        for number in numbers:
            try:
                asks[number] = questions[number].ask(engine)
            except LookalikeError as error:  # one unknown item is no reason to fail the others
                replies[number] = error
        for number, found in zip(asks, engine.find(list(asks.values())), strict=True):
            item_id = questions[number].item_id
            item = None if item_id is None else engine.items.encoded(engine.items.row(item_id))
            replies[number] = Reply(found, engine.encoded(found), item)
    return [replies[number] for number in range(len(questions))]


def _by_engine(engines: Sequence[Engine]) -> dict[Engine, list[int]]:
    """While a bundle is swapped, the questions of one batch may be to two engines."""
    numbers: dict[Engine, list[int]] = {}
    for number, engine in enumerate(engines):
        numbers.setdefault(engine, []).append(number)
    return numbers
