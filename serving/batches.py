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


@dataclass(frozen=True)
class _Waiting(Generic[Question, Answer]):
    question: Question
    answer: "asyncio.Future[Answer]"
    deadline: float  # time.monotonic


class Batches(Generic[Question, Answer]):
    """A thread, and a bounded queue before it. Asked from one event loop."""

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
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Questions that wait."""
        return len(self._queue)

    async def ask(self, question: Question, seconds: float) -> Answer:
        """Raises Overloaded at once, TooLate after `seconds`, and whatever the work raises."""
        if len(self._queue) >= self._bound:
            raise Overloaded(f"{self._bound} questions wait already.")
        self._loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._queue.append(_Waiting(question, answer, time.monotonic() + seconds))
        self._come.set()
        timer = self._loop.call_later(seconds, _give_up, answer, seconds)
        try:
            return await answer
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
            while self._queue:
                count = min(self._most, len(self._queue))
                self._answer([self._queue.popleft() for _ in range(count)])

    def _answer(self, batch: list[_Waiting[Question, Answer]]) -> None:
        now = time.monotonic()
        batch = [each for each in batch if each.deadline > now and not each.answer.done()]
        if not batch:
            return
        if self._sizes is not None:
            self._sizes.observe(len(batch))
        try:
            answers: Sequence[Answer | Exception] = self._work([each.question for each in batch])
        except Exception as error:
            answers = self._one_by_one(batch) if len(batch) > 1 else [error]
        self._deliver(batch, answers)

    def _one_by_one(self, batch: list[_Waiting[Question, Answer]]) -> list[Answer | Exception]:
        """One bad question must not fail the others."""
        answers: list[Answer | Exception] = []
        for each in batch:
            try:
                answers.append(self._work([each.question])[0])
            except Exception as error:
                answers.append(error)
        return answers

    def _deliver(
        self,
        batch: list[_Waiting[Question, Answer]],
        answers: Sequence[Answer | Exception],
    ) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_settle, batch, answers)


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
