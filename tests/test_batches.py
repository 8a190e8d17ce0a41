"""Questions answered in batches: to whom they belong, bounded, in time, and whatever goes wrong."""

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from serving.batches import Batches, Closed, Overloaded, TooLate

Work = Callable[[Sequence[int]], Sequence[int]]


class Recorder:
    """Squares, of batches that are held back until `go`; what came is in `batches`."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.started = threading.Event()
        self.go = threading.Event()
        if not held:
            self.go.set()

    def __call__(self, questions: Sequence[int]) -> list[int]:
        self.batches.append(list(questions))
        self.started.set()
        self.go.wait(10)
        return [question**2 for question in questions]


@contextmanager
def batches(work: Work, *, most: int = 4, waiting: int = 100) -> Iterator[Batches[int, int]]:
    made: Batches[int, int] = Batches("test", work, most=most, waiting=waiting)
    try:
        yield made
    finally:
        made.close()


async def started(work: Recorder) -> None:
    """The thread is busy with a batch."""
    while not work.started.is_set():
        await asyncio.sleep(0.001)


async def waiting(asked: Batches[int, int], count: int) -> None:
    async with asyncio.timeout(5):
        while len(asked) != count:
            await asyncio.sleep(0.001)


@given(st.lists(st.integers(0, 999), max_size=40), st.integers(1, 5))
def test_each_gets_its_own_answer_in_batches_of_at_most_so_many(
    questions: list[int], most: int
) -> None:
    work = Recorder()

    async def ask(asked: Batches[int, int]) -> list[int]:
        return await asyncio.gather(*(asked.ask(question, 5) for question in questions))

    with batches(work, most=most) as asked:
        assert asyncio.run(ask(asked)) == [question**2 for question in questions]
    assert [question for batch in work.batches for question in batch] == questions
    assert all(1 <= len(batch) <= most for batch in work.batches)


def test_what_came_while_it_was_busy_is_one_batch() -> None:
    work = Recorder(held=True)
    registry = CollectorRegistry()
    sizes = Histogram("sizes", "Of batches.", registry=registry, buckets=(1, 4, 8))

    async def ask(asked: Batches[int, int]) -> list[int]:
        first = asyncio.create_task(asked.ask(0, 5))
        await started(work)
        others = [asyncio.create_task(asked.ask(number, 5)) for number in range(1, 10)]
        await waiting(asked, 9)
        work.go.set()
        return await asyncio.gather(first, *others)

    asked: Batches[int, int] = Batches("test", work, most=4, waiting=100, sizes=sizes)
    assert asyncio.run(ask(asked)) == [number**2 for number in range(10)]
    asked.close()
    assert work.batches == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9]]
    assert registry.get_sample_value("sizes_sum") == 10
    assert registry.get_sample_value("sizes_bucket", {"le": "1.0"}) == 2


def test_one_bad_question_fails_alone() -> None:
    def work(questions: Sequence[int]) -> list[int]:
        return [100 // question for question in questions]

    async def ask(asked: Batches[int, int]) -> list[int | BaseException]:
        questions = (asked.ask(question, 5) for question in (1, 0, 5, 0))
        return await asyncio.gather(*questions, return_exceptions=True)

    with batches(work) as asked:
        found = asyncio.run(ask(asked))
        assert [str(each) for each in found] == ["100", NO, "20", NO]
        assert asyncio.run(ask(asked))[0] == 100  # it goes on


NO = "integer division or modulo by zero"


@pytest.mark.parametrize("given", [[], [1], [1, 2, 3]])
def test_work_that_answers_too_few_or_too_many_fails_them_all(given: list[int]) -> None:
    async def ask(asked: Batches[int, int]) -> list[int | BaseException]:
        return await asyncio.gather(asked.ask(1, 5), asked.ask(2, 5), return_exceptions=True)

    started = time.monotonic()
    with batches(lambda questions: given if len(questions) > 1 else []) as asked:
        found = asyncio.run(ask(asked))
    assert [type(each) for each in found] == [ValueError, ValueError]
    assert time.monotonic() - started < 4  # not by their deadline


def test_a_full_queue_turns_away_at_once() -> None:
    work = Recorder(held=True)

    async def ask(asked: Batches[int, int]) -> list[int]:
        first = asyncio.create_task(asked.ask(0, 5))
        await started(work)
        others = [asyncio.create_task(asked.ask(number, 5)) for number in (1, 2)]
        await waiting(asked, 2)
        with pytest.raises(Overloaded, match=r"^2 questions wait already\.$"):
            await asked.ask(3, 5)
        work.go.set()
        return await asyncio.gather(first, *others)

    with batches(work, waiting=2) as asked:
        assert asyncio.run(ask(asked)) == [0, 1, 4]
    assert work.batches == [[0], [1, 2]]


def test_who_has_waited_too_long_is_told_and_not_worked_for() -> None:
    work = Recorder(held=True)

    async def ask(asked: Batches[int, int]) -> list[int]:
        first = asyncio.create_task(asked.ask(0, 5))
        await started(work)
        late = time.monotonic()
        with pytest.raises(TooLate, match=re.escape("No answer within 0.05 seconds.")):
            await asked.ask(1, 0.05)
        assert 0.04 < time.monotonic() - late < 2
        last = asyncio.create_task(asked.ask(2, 5))
        await waiting(asked, 1)  # who gave up has left the queue
        work.go.set()
        return await asyncio.gather(first, last)

    with batches(work) as asked:
        assert asyncio.run(ask(asked)) == [0, 4]
    assert work.batches == [[0], [2]]


def test_a_cancelled_question_costs_no_place_and_no_work() -> None:
    work = Recorder(held=True)

    async def ask(asked: Batches[int, int]) -> list[int]:
        first = asyncio.create_task(asked.ask(0, 5))
        await started(work)
        gone = [asyncio.create_task(asked.ask(number, 5)) for number in (1, 2)]
        await waiting(asked, 2)
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
        others = [asyncio.create_task(asked.ask(number, 5)) for number in (3, 4)]
        await waiting(asked, 2)
        work.go.set()
        return await asyncio.gather(first, *others)

    with batches(work, waiting=2) as asked:
        assert asyncio.run(ask(asked)) == [0, 9, 16]
    assert work.batches == [[0], [3, 4]]


def test_who_is_cancelled_while_it_is_worked_for_harms_nobody() -> None:
    work = Recorder(held=True)

    async def ask(asked: Batches[int, int]) -> int:
        gone = asyncio.create_task(asked.ask(1, 5))
        await started(work)
        gone.cancel()
        await asyncio.wait([gone])
        assert gone.cancelled()
        work.go.set()
        return await asked.ask(2, 5)

    with batches(work) as asked:
        assert asyncio.run(ask(asked)) == 4


def test_many_loops_in_many_threads_get_their_own_answers() -> None:
    found: dict[int, list[int]] = {}

    def run(number: int) -> None:
        async def ask() -> list[int]:
            questions = range(1000 * number, 1000 * number + 50)
            return await asyncio.gather(*(asked.ask(question, 10) for question in questions))

        found[number] = asyncio.run(ask())

    with batches(Recorder(), most=8, waiting=1000) as asked:
        threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {n: [q**2 for q in range(1000 * n, 1000 * n + 50)] for n in range(6)}


def test_a_loop_that_is_closed_takes_nothing_along() -> None:
    """The server's loop ends while a batch is worked on; another loop asks on."""
    work = Recorder(held=True)

    async def leave(asked: Batches[int, int]) -> None:
        task = asyncio.create_task(asked.ask(1, 60))
        await started(work)
        task.cancel()

    with batches(work) as asked:
        asyncio.run(leave(asked))
        work.go.set()
        assert asyncio.run(asked.ask(3, 5)) == 9


class Closing(asyncio.SelectorEventLoop):
    """A loop that closes between a look at it and a call."""

    def call_soon_threadsafe(self, *_: object, **__: object) -> asyncio.Handle:
        raise RuntimeError("Event loop is closed")


def test_a_loop_that_closes_in_that_moment_ends_no_thread() -> None:
    loop = Closing()
    with batches(Recorder()) as asked:
        with pytest.raises(TooLate):
            loop.run_until_complete(asked.ask(1, 0.2))
        assert asyncio.run(asked.ask(3, 5)) == 9
    loop.close()


def test_close_answers_who_waits_and_nobody_after() -> None:
    work = Recorder(held=True)
    asked: Batches[int, int] = Batches("closing", work, most=2, waiting=10)

    async def ask() -> list[int]:
        first = asyncio.create_task(asked.ask(0, 5))
        await started(work)
        others = [asyncio.create_task(asked.ask(number, 5)) for number in (1, 2, 3)]
        await waiting(asked, 3)
        ending = threading.Thread(target=asked.close)
        ending.start()
        while not asked.closed:
            await asyncio.sleep(0.001)
        with pytest.raises(Closed, match=r"^No more questions are answered here\.$"):
            await asked.ask(9, 5)
        work.go.set()
        found = await asyncio.gather(first, *others)
        ending.join()
        return found

    assert asyncio.run(ask()) == [0, 1, 4, 9]
    assert work.batches == [[0], [1, 2], [3]]
    asked.close()  # again, and nothing happens
    assert "closing" not in {thread.name for thread in threading.enumerate()}
