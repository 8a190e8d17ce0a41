"""Where requests wait their turn: decoding in some threads, embedding and search each in one.

A photo is decoded beside others; the photos that are decoded are embedded together, and all
questions to the index are searched together. Every queue is bounded, every request has a deadline.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Literal, TypeVar

from model.pixels import Box
from serving import limits
from serving.batches import Batches, Overloaded, TooLate
from serving.embedder import Probabilities
from serving.engine import Answer, Ask, Engine, Hit, Look
from serving.index import Vectors
from serving.metrics import Metrics
from serving.rejected import unavailable
from serving.selection import Wanted

Given = TypeVar("Given")
Made = TypeVar("Made")
Seen = tuple[Vectors, Probabilities]  # [d] and [leaves]


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
        self._finds: Batches[tuple[Engine, Ask], list[Hit]] = Batches(
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
        wanted: Callable[[Seen], Wanted] | Wanted,
        box: Box | Literal["whole"] | None = None,
    ) -> tuple[Answer, Seen]:
        """What looks like a photo, and what the embedder saw.

        Raises BadImage as `Engine.look` does, Rejected under load.
        """
        deadline = Deadline(self._seconds)
        times = [time.perf_counter()]
        look = await self._turn(self._decode(engine, image, box, deadline), deadline)
        times.append(time.perf_counter())
        seen = await self._turn(self._embeds.ask((engine, look), deadline.left), deadline)
        times.append(time.perf_counter())
        ask = Ask(seen[0], wanted if isinstance(wanted, Wanted) else wanted(seen))
        hits = await self._turn(self._finds.ask((engine, ask), deadline.left), deadline)
        times.append(time.perf_counter())
        names = ("decode", "embed", "search")
        seconds = {name: times[n + 1] - times[n] for n, name in enumerate(names)}
        answer = Answer(hits, engine.category(seen[1]), seconds, look.searched)
        return answer, seen

    async def find(self, engine: Engine, asks: Sequence[Ask]) -> list[Answer]:
        """What is near to each vector. Raises Rejected under load."""
        deadline = Deadline(self._seconds)
        started = time.perf_counter()
        questions = [self._finds.ask((engine, ask), deadline.left) for ask in asks]
        if len(questions) == 1:
            found = [await self._turn(questions[0], deadline)]
        else:
            found = await self._turn(asyncio.gather(*questions), deadline)
        seconds = {"search": time.perf_counter() - started}
        return [Answer(hits, seconds=seconds) for hits in found]

    async def embed(self, engine: Engine, image: bytes, box: Box | None = None) -> Vectors:
        """The vector [d] of an item's photo: of the whole of it, or of what is in the box."""
        deadline = Deadline(self._seconds)
        look = await self._turn(self._decode(engine, image, box or "whole", deadline), deadline)
        seen = await self._turn(self._embeds.ask((engine, look), deadline.left), deadline)
        return seen[0]

    def close(self) -> None:
        self._embeds.close()
        self._finds.close()
        self._decoders.shutdown()

    async def _decode(
        self, engine: Engine, image: bytes, box: Box | Literal["whole"] | None, deadline: Deadline
    ) -> Look:
        future = self._decoders.submit(engine.look, image, box)
        try:
            async with asyncio.timeout(deadline.left):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise TooLate("decode") from None

    async def _turn(self, work: Awaitable[Made], deadline: Deadline) -> Made:
        try:
            return await work
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


def _embed(questions: Sequence[tuple[Engine, Look]]) -> list[Seen]:
    def work(engine: Engine, looks: Sequence[Look]) -> list[Seen]:
        vectors, odds = engine.embed(looks)
        return list(zip(vectors, odds, strict=True))

    return _by_engine(questions, work)


def _find(questions: Sequence[tuple[Engine, Ask]]) -> list[list[Hit]]:
    return _by_engine(questions, lambda engine, asks: engine.find(asks))


def _by_engine(
    questions: Sequence[tuple[Engine, Given]],
    work: Callable[[Engine, Sequence[Given]], Sequence[Made]],
) -> list[Made]:
    """While a bundle is swapped, the questions of one batch may be to two engines."""
    numbers: dict[Engine, list[int]] = {}
    for number, (engine, _) in enumerate(questions):
        numbers.setdefault(engine, []).append(number)
    answers: dict[int, Made] = {}
    for engine, some in numbers.items():
        made = work(engine, [questions[number][1] for number in some])
        answers |= dict(zip(some, made, strict=True))
    return [answers[number] for number in range(len(questions))]
