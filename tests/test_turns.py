"""Whose fault it is when nobody can answer; what becomes of a candidate is in test_candidate.py."""

from pathlib import Path
from typing import Any

import pytest
from test_candidate import PHOTO, SIMILAR, counts, replica, told
from tiny_bundle import add_bundle, decide, make_root, serve_settings

from serving.champion import Champion
from serving.rejected import Rejected
from serving.turns import Turns


def broken(asks: object) -> Any:
    raise RuntimeError(f"cannot answer {asks}")


@pytest.mark.parametrize("action", ["shadow", "canary"])
def test_the_champions_own_failures_are_its_own(tmp_path: Path, action: Any) -> None:
    """So what fails with both is no reason against the candidate."""
    root = make_root(tmp_path)
    decide(root, add_bundle(root, items=61), "2", action, share=0)
    with replica(root) as (champion, client):
        assert champion.current is not None
        assert client.get("/v1/items/none/similar").status_code == 404
        champion.current.engine.find = broken  # type: ignore[method-assign]
        assert client.get(SIMILAR).status_code == 500
        assert client.post("/v1/search", content=PHOTO).status_code == 500
        assert client.get(SIMILAR, params={"k": 0}).status_code == 422
        figures = told(client)["figures"]
    assert counts(figures["champion"]) == (0, 0, 0, 2)
    assert counts(figures["candidate"]) == (0, 0, 0, 0)
    assert figures["compared"] == 0


def test_what_fails_with_both_is_an_error_and_counted_of_both(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    decide(root, add_bundle(root, items=61), "2", "canary", share=1)
    with replica(root) as (champion, client):
        for loaded in champion.loaded():
            loaded.engine.find = broken  # type: ignore[method-assign]
        assert client.get(SIMILAR).status_code == 500
        figures = told(client)["figures"]
    assert counts(figures["champion"]) == counts(figures["candidate"]) == (0, 0, 0, 1)


def test_before_the_first_bundle_there_is_no_turn(tmp_path: Path) -> None:
    champion = Champion(serve_settings(tmp_path))
    champion.poll()
    with pytest.raises(Rejected) as caught:
        Turns(champion).loaded()
    assert (caught.value.status, caught.value.code, str(caught.value)) == (
        503,
        "no_bundle",
        "No bundle serves. None is loaded yet. Promote one; it serves within seconds.",
    )
    champion.live.store.close()
