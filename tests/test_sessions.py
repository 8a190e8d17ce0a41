"""A session is its key's, for its time, and nobody makes or changes one without the secret."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.keys import Key, Keys
from serving.sessions import SESSION_SECONDS, holder, issue

NOW = 1_800_000_000.0
SHOP, TEAM, ADA = ("shop", "s" * 24), ("team", "t" * 24), ("ada", "a" * 24)
KEYS = Keys([ADA], [SHOP, TEAM])


def key(name: str, keys: Keys = KEYS) -> Key:
    return next(key for key in keys.searchers if key.name == name)


def whose(token: str, keys: Keys = KEYS, now: float = NOW) -> str | None:
    found = holder(keys, token, now)
    return found and found.name


def test_it_is_its_keys_for_its_time() -> None:
    token = issue(key("team"), NOW)
    assert whose(token) == "team"
    assert whose(token, now=NOW + SESSION_SECONDS - 1) == "team"
    assert whose(token, now=NOW + SESSION_SECONDS) is None


def test_it_says_nothing_of_the_key() -> None:
    token = issue(key("team"), NOW)
    assert re.fullmatch(rf"{int(NOW) + SESSION_SECONDS}\.[0-9a-f]{{64}}", token)
    assert token != issue(key("shop"), NOW)


def test_replicas_and_restarts_agree() -> None:
    assert whose(issue(key("team"), NOW), Keys([ADA], [("other", "o" * 24), TEAM])) == "team"


@pytest.mark.parametrize(
    "searchers",
    [
        [SHOP],
        [SHOP, ("team", "another secret of theirs")],
        [("teams", TEAM[1])],
    ],
    ids=["taken away", "rotated", "renamed"],
)
def test_a_key_that_changed_has_no_session(searchers: list[tuple[str, str]]) -> None:
    assert whose(issue(key("team"), NOW), Keys([ADA], searchers)) is None


def test_operators_have_none() -> None:
    message = (
        "A session is for search. Expected a key of search. Received the operator's 'ada'. Send an "
        "operator's key with each request instead."
    )
    ada = KEYS.find(ADA[1].encode())
    assert ada is not None
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        issue(ada, NOW)
    as_searcher = key("ada", Keys([], [ADA]))
    assert whose(issue(as_searcher, NOW)) is None  # since its key became an operator's


@given(st.integers(0, 74), st.characters())
def test_a_changed_token_is_nobodys(place: int, character: str) -> None:
    token = issue(key("team"), NOW)
    changed = token[:place] + character + token[place + 1 :]
    assert whose(changed) == ("team" if changed == token else None)


@given(st.text() | st.from_regex(r"\d{1,14}\.[0-9a-f]{64}", fullmatch=True))
def test_any_other_text_is_nobodys(text: str) -> None:
    assert whose(text) is None
