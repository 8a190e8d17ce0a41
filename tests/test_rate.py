"""The rate against a plain token bucket, and its memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import rate
from serving.rate import Rate


@given(
    st.integers(1, 50),
    st.integers(1, 20),
    st.lists(st.integers(0, 3000), min_size=1, max_size=100),  # milliseconds between requests
)
def test_it_admits_what_a_token_bucket_admits(
    per_second: int, burst: int, pauses: list[int]
) -> None:
    bucket = Rate(per_second, burst)
    thousandths, now = burst * 1000, 0  # of a token, of a second: exact
    for pause in pauses:
        now += pause
        thousandths = min(burst * 1000, thousandths + pause * per_second)
        wait = bucket.take("one", now / 1000)
        if thousandths >= 1000:
            assert wait == 0
            thousandths -= 1000
        else:
            assert wait == pytest.approx((1000 - thousandths) / per_second / 1000, abs=1e-6)


def test_clients_do_not_share() -> None:
    bucket = Rate(1, 2)
    assert [bucket.take("one", 5.0) for _ in range(3)] == [0, 0, 1]
    assert bucket.take("two", 5.0) == 0
    assert bucket.take("one", 6.0) == 0


def test_it_remembers_so_many_clients_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "MAX_CLIENTS", 3)
    bucket = Rate(1, 1)
    for client in ("a", "b", "c", "a", "d"):
        bucket.take(client, 0.0)
    assert len(bucket) == 3
    assert bucket.take("b", 0.0) == 1  # still known, as `a`'s refused request did not make it new
    assert bucket.take("a", 0.0) == 0  # the oldest, forgotten
