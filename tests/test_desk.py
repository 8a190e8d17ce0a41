"""The desk: many requests at once get what each would get alone, in time or not at all."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeVar

import numpy as np
import pytest
from tiny_bundle import add_bundle, draw_photo

from model.errors import BadImage
from model.pixels import Box
from serving import limits
from serving.bundle import verify
from serving.desk import Deadline, Desk
from serving.engine import Ask, Engine
from serving.filters import Filter
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


def questions(engine: Engine) -> list[Ask]:
    wishes = (
        Wanted(3),
        Wanted(7, Filter(in_stock=True)),
        Wanted(5, diversity=0.5, per_product=1),
        Wanted(2, Filter(("Home",)), (Filter(),)),
    )
    return [
        engine.ask(f"item-{number:03}", wishes[number % len(wishes)]) for number in range(10, 30)
    ]


def test_a_photo_gets_what_the_engine_answers(desk: Desk, engines: tuple[Engine, Engine]) -> None:
    engine, photo, box = engines[0], draw_photo(8), Box(20, 20, 200, 180)
    expected = engine.search(photo, 5, box)
    answer, (vector, odds) = run(lambda: desk.photo(engine, photo, Wanted(5), box))
    assert (answer.hits, answer.category) == (expected.hits, expected.category)
    assert answer.searched == expected.searched
    assert list(answer.seconds) == ["decode", "embed", "search"]
    assert all(seconds >= 0 for seconds in answer.seconds.values())
    assert (vector.shape, odds.shape) == ((engine.embedder.dimensions,), (len(engine.leaves),))


def test_what_is_wanted_may_depend_on_what_was_seen(
    desk: Desk, engines: tuple[Engine, Engine]
) -> None:
    engine = engines[0]

    def of_its_leaf(seen: tuple[Any, Any]) -> Wanted:
        return Wanted(4, Filter((engine.category(seen[1])[0]["path"],)))

    answer, _ = run(lambda: desk.photo(engine, draw_photo(8), of_its_leaf))
    assert {hit["category"] for hit in answer.hits} == {"Home > Lamps > Pendants"}


def test_photos_at_once_get_what_each_gets_alone(
    desk: Desk, engines: tuple[Engine, Engine]
) -> None:
    """To two engines, as while a bundle is swapped; and what is no photo fails alone."""

    async def ask(number: int) -> Any:
        photo = b"no photo" if number % 10 == 7 else draw_photo(number)
        return (await desk.photo(engines[number % 2], photo, Wanted(3)))[0].hits

    async def ask_all() -> list[Any]:
        return await asyncio.gather(*map(ask, range(30)), return_exceptions=True)

    for number, found in enumerate(run(ask_all)):
        if number % 10 == 7:
            assert isinstance(found, BadImage)
        else:
            assert found == engines[number % 2].search(draw_photo(number), 3).hits


def test_questions_at_once_get_what_each_gets_alone(
    desk: Desk, engines: tuple[Engine, Engine]
) -> None:
    async def ask_all() -> list[list[Any]]:
        return await asyncio.gather(*(desk.find(each, questions(each)) for each in engines))

    for engine, answers in zip(engines, run(ask_all), strict=True):
        expected = [engine.find([ask])[0] for ask in questions(engine)]
        assert [answer.hits for answer in answers] == expected


def test_a_bad_vector_fails_alone(desk: Desk, engines: tuple[Engine, Engine]) -> None:
    good = questions(engines[0])[0]
    bad = Ask(np.full_like(good.vector, np.nan), Wanted())

    async def ask_all() -> list[Any]:
        asked = (desk.find(engines[0], [ask]) for ask in (good, bad, good))
        return await asyncio.gather(*asked, return_exceptions=True)

    first, failed, last = run(ask_all)
    assert first[0].hits == last[0].hits == engines[0].find([good])[0]
    assert str(failed) == "A query vector holds NaN or infinity. Expected finite numbers."


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
    with pytest.raises(Rejected) as caught:
        run(lambda: desk.find(engines[0], questions(engines[0])))
    assert caught.value.code == "overloaded"
    assert str(caught.value) == (
        f"The server is busy with {limits.MAX_SEARCHES} questions. Try again in a moment."
    )
    (answer,) = run(lambda: desk.find(engines[0], questions(engines[0])[:1]))
    assert len(answer.hits) == 5


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
    desk = Desk(SLOW, Metrics())
    desk.close()
    for work in (
        lambda: desk.find(engines[0], questions(engines[0])[:1]),
        lambda: desk.photo(engines[0], draw_photo(1), Wanted()),
    ):
        with pytest.raises(Rejected) as caught:
            run(work)  # type: ignore[arg-type]
        assert (caught.value.code, str(caught.value)) == (
            "overloaded",
            "The server is busy ending. Try again in a moment.",
        )
    names = {thread.name for thread in threading.enumerate()}
    assert not {"embed", "search"} & names


def test_the_queues_are_measured(engines: tuple[Engine, Engine]) -> None:
    metrics = Metrics()
    desk = Desk(SLOW, metrics)
    with desk.place(), desk.place():
        text = metrics.text().decode()
    run(lambda: desk.find(engines[0], questions(engines[0])))
    desk.close()
    assert 'lookalike_queued{stage="photos"} 2.0' in text
    assert 'lookalike_queued{stage="search"} 0.0' in text
    assert 'lookalike_batch_size_sum{stage="search"} 20.0' in metrics.text().decode()


def test_a_deadline_runs_down_and_never_to_nothing() -> None:
    assert 59 < Deadline(60).left <= 60
    assert Deadline(-1).left == 0.001
