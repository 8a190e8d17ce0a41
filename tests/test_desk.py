"""The desk: many requests at once get what each would get alone, in time or not at all."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from tiny_bundle import add_bundle, draw_photo

from model.errors import BadImage
from model.pixels import Box
from serving import limits, use_cases
from serving.bundle import verify
from serving.desk import Deadline, Desk, Question, Reply
from serving.engine import NEAREST, Ask, Engine, Found, Hit
from serving.filters import Filter
from serving.items import UnknownItem
from serving.metrics import Metrics
from serving.rejected import Rejected
from serving.selection import Wanted

Made = TypeVar("Made")
SLOW = Deadline(60).seconds


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, Engine]:
    """Of a bundle, and of the one that takes its place."""
    root = tmp_path_factory.mktemp("shop")
    digests = [add_bundle(root, items=items) for items in (60, 36)]
    first, second = (Engine(verify(root / "bundles" / each, each), threads=1) for each in digests)
    return first, second


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk(SLOW, Metrics())
    yield desk
    desk.close()


def run(work: Callable[[], Awaitable[Made]]) -> Made:
    async def main() -> Made:
        return await work()

    return asyncio.run(main())


def about(engine: Engine, item_id: str, wanted: Wanted = NEAREST) -> Question:
    return Question(engine, lambda engine: engine.ask(item_id, wanted), item_id)


def questions(engine: Engine) -> list[Question]:
    wishes = (
        Wanted(3),
        Wanted(7, Filter(in_stock=True)),
        Wanted(5, diversity=0.5, per_product=1),
        Wanted(2, Filter(("Home",)), (Filter(),)),
    )
    return [
        about(engine, f"item-{number:03}", wishes[number % len(wishes)]) for number in range(10, 30)
    ]


def alone(question: Question) -> Found:
    (found,) = question.engine.find([question.ask(question.engine)])
    return found


def told(engine: Engine, reply: Reply) -> list[Hit]:
    """The hits of a reply, which are the same as JSON."""
    hits: list[Hit] = json.loads(reply.hits)
    assert hits == engine.hits(reply.found)
    return hits


async def all_at_once(*work: Awaitable[Made]) -> list[Any]:
    return await asyncio.gather(*work, return_exceptions=True)


@asynccontextmanager
async def held(desk: Desk, engine: Engine) -> AsyncIterator[None]:
    """A question holds the thread until the end of the block: the others wait."""
    begun, go = threading.Event(), threading.Event()

    def hold(engine: Engine) -> Ask:
        begun.set()
        assert go.wait(10)
        return engine.ask("item-001", NEAREST)

    first = asyncio.create_task(desk.find(Question(engine, hold)))
    try:
        assert await asyncio.to_thread(begun.wait, 10)
        yield
    finally:
        go.set()
    await first


async def in_one_batch(desk: Desk, *asked: Question) -> list[Any]:
    async with held(desk, asked[0].engine):
        tasks = [asyncio.create_task(desk.find(question)) for question in asked]
        await asyncio.sleep(0)
    return await all_at_once(*tasks)


def test_a_photo_gets_what_the_engine_answers(desk: Desk, engines: tuple[Engine, Engine]) -> None:
    engine, photo, box = engines[0], draw_photo(8), Box(20, 20, 200, 180)
    expected = engine.search(photo, 5, box)
    reply, look, odds = run(lambda: desk.photo(engine, photo, Wanted(5), box))
    assert (told(engine, reply), engine.category(odds)) == (expected.hits, expected.category)
    assert (look.searched, reply.item) == (expected.searched, None)
    assert list(reply.seconds) == ["decode", "embed", "search"]
    assert all(seconds >= 0 for seconds in reply.seconds.values())
    assert odds.shape == (len(engine.leaves),)


def test_what_is_wanted_may_depend_on_the_item(desk: Desk, engines: tuple[Engine, Engine]) -> None:
    engine = engines[0]

    def substitutes(engine: Engine) -> Ask:
        item = engine.items.item(engine.items.row("item-008"))
        return engine.ask(item.item_id, use_cases.substitutes(item, 4))

    reply = run(lambda: desk.find(Question(engine, substitutes)))
    expected = use_cases.substitutes(engine.items.item(8), 4)
    assert told(engine, reply) == engine.similar("item-008", expected).hits
    assert reply.item is None


def test_an_item_that_is_asked_of_is_told_too(desk: Desk, engines: tuple[Engine, Engine]) -> None:
    asked = [about(engine, "item-010") for engine in engines]
    for engine, reply in zip(
        engines, run(lambda: all_at_once(*map(desk.find, asked))), strict=True
    ):
        assert reply.item is not None
        assert json.loads(reply.item) == engine.items.shown(10)
        assert told(engine, reply) == engine.similar("item-010").hits
        assert list(reply.seconds) == ["search"]
        assert reply.seconds["search"] >= 0


def test_photos_at_once_get_what_each_gets_alone(
    desk: Desk, engines: tuple[Engine, Engine]
) -> None:
    """To two engines, as while a bundle is swapped; and what is no photo fails alone."""

    async def ask(number: int) -> Any:
        photo = b"no photo" if number % 10 == 7 else draw_photo(number)
        engine = engines[number % 2]
        return told(engine, (await desk.photo(engine, photo, Wanted(3)))[0])

    for number, found in enumerate(run(lambda: all_at_once(*map(ask, range(30))))):
        if number % 10 == 7:
            assert isinstance(found, BadImage)
        else:
            assert found == engines[number % 2].search(draw_photo(number), 3).hits


def test_questions_at_once_get_what_each_gets_alone(
    desk: Desk, engines: tuple[Engine, Engine]
) -> None:
    asked = [question for engine in engines for question in questions(engine)]
    for question, reply in zip(
        asked, run(lambda: all_at_once(*map(desk.find, asked))), strict=True
    ):
        engine = question.engine
        assert told(engine, reply) == engine.hits(alone(question))
        assert json.loads(reply.item)["item_id"] == question.item_id


def test_an_unknown_item_fails_alone_and_at_no_cost_to_the_others(
    desk: Desk, engines: tuple[Engine, Engine]
) -> None:
    engine, times = engines[0], []

    def ask(engine: Engine) -> Ask:
        times.append(1)
        return engine.ask("item-010", NEAREST)

    good = Question(engine, ask)
    first, failed, last = run(lambda: in_one_batch(desk, good, about(engine, "gone"), good))
    assert told(engine, first) == told(engine, last) == engine.similar("item-010").hits
    assert isinstance(failed, UnknownItem)
    assert str(failed) == "No item 'gone' in the catalogue. Expected the `item_id` of one in it."
    assert len(times) == 2


def test_a_bad_vector_fails_alone(desk: Desk, engines: tuple[Engine, Engine]) -> None:
    engine = engines[0]
    good = questions(engine)[0]
    bad = Ask(np.full_like(engine.index.vector(0), np.nan), Wanted())
    asked = (good, Question(engine, lambda _: bad), good)
    first, failed, last = run(lambda: in_one_batch(desk, *asked))
    assert told(engine, first) == told(engine, last) == engine.hits(alone(good))
    assert str(failed) == "A query vector holds NaN or infinity. Expected finite numbers."


def test_an_item_that_goes_while_it_is_asked_of_fails_alone(desk: Desk, tmp_path: Path) -> None:
    digest = add_bundle(tmp_path, items=20)
    engine = Engine(verify(tmp_path / "bundles" / digest, digest), threads=1)

    def ask(engine: Engine) -> Ask:
        found = engine.ask("item-010", NEAREST)
        engine.remove("item-010")
        return found

    good = about(engine, "item-011")
    reply, failed = run(lambda: in_one_batch(desk, good, Question(engine, ask, "item-010")))
    assert isinstance(failed, UnknownItem)
    assert told(engine, reply) == engine.similar("item-011").hits


def test_an_item_is_embedded_whole_or_by_its_box(
    desk: Desk, engines: tuple[Engine, Engine]
) -> None:
    engine, photo, box = engines[0], draw_photo(8), Box(40, 40, 100, 100)
    for given in (None, box):
        expected, _ = engine.embed([engine.look(photo, given or "whole")])
        np.testing.assert_array_equal(
            run(lambda b=given: desk.embed(engine, photo, b)), expected[0]
        )  # type: ignore[misc]


def test_places_are_taken_and_given_back(desk: Desk) -> None:
    with ExitStack() as places:
        for _ in range(limits.MAX_PHOTOS):
            places.enter_context(desk.place())
        with pytest.raises(Rejected) as caught, desk.place():
            pass
        assert (caught.value.status, caught.value.code) == (503, "overloaded")
        assert str(caught.value) == (
            f"The server is busy with {limits.MAX_PHOTOS} photos. Try again in a moment."
        )
        assert caught.value.headers == {"Retry-After": "1"}
    with desk.place():
        pass


def test_too_many_questions_are_turned_away(
    desk: Desk, engines: tuple[Engine, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk._finds, "_bound", 5)
    engine, asked = engines[0], questions(engines[0])[:6]

    async def ask_all() -> list[Reply]:
        async with held(desk, engine):
            waiting = [asyncio.create_task(desk.find(question)) for question in asked[:5]]
            await asyncio.sleep(0)
            with pytest.raises(Rejected) as caught:
                await desk.find(asked[5])
        assert caught.value.code == "overloaded"
        assert str(caught.value) == (
            f"The server is busy with {limits.MAX_SEARCHES} questions. Try again in a moment."
        )
        return await asyncio.gather(*waiting)

    assert [told(engine, reply) for reply in run(ask_all)] == [
        engine.hits(alone(question)) for question in asked[:5]
    ]


def test_a_photo_that_is_not_decoded_in_time(engines: tuple[Engine, Engine]) -> None:
    desk, go = Desk(0.2, Metrics()), threading.Event()
    held = [desk._decoders.submit(go.wait, 10) for _ in range(limits.DECODE_THREADS)]
    try:
        for work in (
            lambda: desk.photo(engines[0], draw_photo(1), Wanted()),
            lambda: desk.embed(engines[0], draw_photo(1)),
        ):
            with pytest.raises(Rejected) as caught:
                run(work)  # type: ignore[arg-type]
            assert (caught.value.status, caught.value.code) == (503, "deadline")
            assert str(caught.value) == (
                "No answer within 0.2 seconds. Try again, or with a smaller photo."
            )
    finally:
        go.set()
        assert [each.result() for each in held] == [True] * len(held)
        desk.close()


def test_after_it_is_closed_nothing_waits(engines: tuple[Engine, Engine]) -> None:
    before = set(threading.enumerate())
    desk = Desk(SLOW, Metrics())
    desk.close()
    for work in (
        lambda: desk.find(questions(engines[0])[0]),
        lambda: desk.photo(engines[0], draw_photo(1), Wanted()),
    ):
        with pytest.raises(Rejected) as caught:
            run(work)  # type: ignore[arg-type]
        assert (caught.value.code, str(caught.value)) == (
            "overloaded",
            "The server is busy ending. Try again in a moment.",
        )
    names = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {"embed", "search"} & names


def test_the_queues_are_measured(engines: tuple[Engine, Engine]) -> None:
    metrics = Metrics()
    desk = Desk(SLOW, metrics)
    with desk.place(), desk.place():
        text = metrics.text().decode()
    replies = run(lambda: all_at_once(*map(desk.find, questions(engines[0]))))
    assert [type(reply) for reply in replies] == [Reply] * 20
    desk.close()
    assert 'lookalike_queued{stage="photos"} 2.0' in text
    assert 'lookalike_queued{stage="search"} 0.0' in text
    assert 'lookalike_batch_size_sum{stage="search"} 20.0' in metrics.text().decode()


def test_a_deadline_runs_down_and_never_to_nothing() -> None:
    assert 59 < Deadline(60).left <= 60
    assert Deadline(-1).left == 0.001
