"""Questions of many requests, answered together on one thread.

    searches = Batches("search", find, most=32, waiting=256)
    answer = await searches.ask(question, seconds=1.0)

No question waits for others to come: the thread takes what has come while it was busy, so that a
batch is as large as the load makes it, and a lone question is answered at once.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from prometheus_client import Histogram

from model.errors import LookalikeError

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Overloaded(LookalikeError):
    """There are as many questions as may wait."""


class TooLate(LookalikeError):
    """The answer would come after its deadline."""


class Closed(LookalikeError):
    """Nobody answers any more."""


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[Question, Answer]):
    question: Question
    answer: "asyncio.Future[Answer]"
    deadline: float  # time.monotonic


class Batches(Generic[Question, Answer]):
    """A thread, and a bounded queue before it. Asked from any event loop."""

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Question]], Sequence[Answer | Exception]],
        *,
        most: int,
        waiting: int,
        sizes: Histogram | None = None,
    ) -> None:
        self._work, self._most, self._bound, self._sizes = work, most, waiting, sizes
        self._queue: deque[_Waiting[Question, Answer]] = deque()
        self._come = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Questions that wait."""
        return len(self._queue)

    @property
    def closed(self) -> bool:
        return self._ended

    async def ask(self, question: Question, seconds: float) -> Answer:
        """Raises Overloaded or Closed at once, TooLate after `seconds`, and what the work raises.

        Who is cancelled or too late leaves the queue: it takes no place and is not worked for.
        """
        if self._ended:
            raise Closed("No more questions are answered here.")
        if len(self._queue) >= self._bound:
            raise Overloaded(f"{self._bound} questions wait already.")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        waiting = _Waiting(question, answer, time.monotonic() + seconds)
        self._queue.append(waiting)
        self._come.set()
        timer = loop.call_later(seconds, _give_up, answer, seconds)
        try:
            return await answer
        except (asyncio.CancelledError, TooLate):
            with suppress(ValueError):  # the thread has taken it
                self._queue.remove(waiting)
            raise
        finally:
            timer.cancel()

    def close(self) -> None:
        """End the thread after the questions that wait."""
        self._ended = True
        self._come.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended or self._queue:
            self._come.wait()
            self._come.clear()
            while batch := self._take():
                self._answer(batch)

    def _take(self) -> list[_Waiting[Question, Answer]]:
        """Those who still wait, at most as many as a batch may have."""
        batch: list[_Waiting[Question, Answer]] = []
        while self._queue and len(batch) < self._most:
            with suppress(IndexError):  # the last one has left meanwhile
                each = self._queue.popleft()
                if each.deadline > time.monotonic() and not each.answer.done():
                    batch.append(each)
        return batch

    def _answer(self, batch: list[_Waiting[Question, Answer]]) -> None:
        if self._sizes is not None:
            self._sizes.observe(len(batch))
        answers: Sequence[Answer | Exception]
        try:
            answers = self._work_on(batch)
        except Exception as error:
            answers = self._one_by_one(batch) if len(batch) > 1 else [error]
        _deliver(batch, answers)

    def _work_on(self, batch: list[_Waiting[Question, Answer]]) -> Sequence[Answer | Exception]:
        answers = self._work([each.question for each in batch])
        if len(answers) != len(batch):
            raise ValueError(f"Expected {len(batch)} answers. Received: {len(answers)}.")
        return answers

    def _one_by_one(self, batch: list[_Waiting[Question, Answer]]) -> list[Answer | Exception]:
        """One bad question must not fail the others."""
        answers: list[Answer | Exception] = []
        for each in batch:
            try:
                answers.append(self._work_on([each])[0])
            except Exception as error:
                answers.append(error)
        return answers


def _deliver(
    batch: list[_Waiting[Question, Answer]], answers: Sequence[Answer | Exception]
) -> None:
    """In one call of each loop that asked; nobody waits on a loop that is closed."""
    of_loop: dict[asyncio.AbstractEventLoop, list[int]] = {}
    for number, each in enumerate(batch):
        of_loop.setdefault(each.answer.get_loop(), []).append(number)
    for loop, numbers in of_loop.items():
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(
                _settle, [batch[n] for n in numbers], [answers[n] for n in numbers]
            )


def _settle(batch: list[_Waiting[Question, Answer]], answers: Sequence[Answer | Exception]) -> None:
    for each, answer in zip(batch, answers, strict=True):
        if each.answer.done():
            continue
        if isinstance(answer, Exception):
            each.answer.set_exception(answer)
        else:
            each.answer.set_result(answer)


def _give_up(answer: "asyncio.Future[Answer]", seconds: float) -> None:
    if not answer.done():
        answer.set_exception(TooLate(f"No answer within {seconds:g} seconds."))
