"""The worst queries: the least recall first, every miss marked, and what lost it."""

from pathlib import Path

import numpy as np
import pytest
from drawn_shop import ask, build, draw_shop

from model.evaluators import TIE
from pipelines.gate_bench import Asked, Bench
from pipelines.settings import Reduce
from pipelines.worst_queries import SHOWN, worst_queries


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, Asked]:
    """Too few dimensions, so that every query misses something."""
    root = tmp_path_factory.mktemp("drawn") / "root"
    settings = draw_shop(root, reduce=Reduce(dimensions=6))
    build(settings)
    bench, asked, _ = ask(settings)
    return bench, asked


def test_the_least_recall_comes_first(reduced: tuple[Bench, Asked]) -> None:
    found = worst_queries(*reduced)
    recalls = [each.recalls[-1] for each in found]
    assert recalls == np.sort(reduced[1].recalls[-1])[:SHOWN].tolist()
    assert len(worst_queries(*reduced, count=3)) == 3


def test_as_many_are_marked_as_were_missed(reduced: tuple[Bench, Asked]) -> None:
    for each in worst_queries(*reduced):
        misses = round(10 * (1 - each.recalls[-1]))
        assert sum(shown.marked for shown in each.nearest) == misses
        assert sum(shown.marked for shown in each.given) == misses
        given = {shown.key for shown in each.given}
        assert all(shown.key not in given for shown in each.nearest if shown.marked)
        last = each.nearest[-1].cosine
        assert all(s.marked is (s.cosine < last - TIE) for s in each.given if s.cosine != last)
        cosines = [shown.cosine for shown in each.nearest]
        assert cosines == sorted(cosines, reverse=True)


def test_photos_and_words_are_the_catalogues(reduced: tuple[Bench, Asked]) -> None:
    bench, asked = reduced
    rows = {row["pixel_key"]: row for row in bench.catalogue.items.to_pylist()}
    for each in worst_queries(bench, asked):
        for shown in (each.asked, *each.nearest, *each.given):
            row = rows[shown.key]
            assert (shown.title, shown.category) == (row["title"], row["category"])
        item = rows[each.asked.key]
        assert each.kind == ("wild" if item["kind"] == "wild" else "held-out")
        assert (item["split"], each.asked.cosine) == ("test", 1.0)


def test_a_query_that_got_everything_is_not_shown(tmp_path: Path) -> None:
    settings = draw_shop(tmp_path / "root", reduce=Reduce(dimensions=40))
    build(settings)
    bench, asked, _ = ask(settings)
    assert (asked.recalls == 1).all()
    assert worst_queries(bench, asked) == []
