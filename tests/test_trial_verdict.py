"""What a rollout's figures come to: enough, too few, or a fault that is named."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.replicas import Comparison, Tally
from pipelines.settings import Rollout
from pipelines.trial_verdict import Opinion, judge_trial

BOUNDS = Rollout(min_queries=100)
GOOD = Tally(answered=995, empty=5, p99_ms=20.0)
FINE = Comparison(champion=GOOD, candidate=GOOD, compared=1000, overlap=0.8)


def of(**changes: object) -> Comparison:
    return replace(FINE, candidate=replace(GOOD, **changes))  # type: ignore[arg-type]


def test_a_good_candidate_passes_when_the_time_is_up() -> None:
    assert judge_trial(FINE, BOUNDS, over=False) == Opinion("watching", "1,000 queries so far")
    assert judge_trial(FINE, BOUNDS, over=True) == Opinion(
        "passed",
        "1,000 queries, 0 failed, 0.800 of the champion's answers, p99 20.0 ms beside 20.0",
    )


def test_too_few_queries_say_nothing() -> None:
    found = Comparison(candidate=Tally(answered=99))
    assert judge_trial(found, BOUNDS, over=False).word == "watching"
    assert judge_trial(found, BOUNDS, over=True) == Opinion(
        "inconclusive", "99 queries, 100 are needed to tell"
    )
    assert judge_trial(Comparison(), BOUNDS, over=True) == Opinion(
        "inconclusive", "0 queries, 100 are needed to tell"
    )


FAULTS = [
    (of(failed=20), "20 of 1,020 queries failed, 1.0% may"),
    (of(answered=900, empty=100), "10.0% of the queries found nothing, 0.5% of the champion's"),
    (of(answered=900, unknown=100, empty=0),
     "10.0% of the queries found nothing, 0.5% of the champion's"),
    (replace(FINE, overlap=0.05), "0.050 of the champion's answers are given too, 0.1 are needed"),
    (of(p99_ms=61.0),
     "p99 61.0 ms, 20.0 ms of the champion; at most 3 times as long is allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("found", "why"), FAULTS, ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("over", [False, True])
def test_a_fault_is_named_at_once(found: Comparison, why: str, over: bool) -> None:
    assert judge_trial(found, BOUNDS, over=over) == Opinion("abort", why)


def test_several_faults_are_all_named() -> None:
    opinion = judge_trial(of(failed=500, p99_ms=100.0), BOUNDS, over=False)
    assert opinion == Opinion(
        "abort",
        "500 of 1,500 queries failed, 1.0% may; "
        "p99 100.0 ms, 20.0 ms of the champion; at most 3 times as long is allowed",
    )


def test_failures_are_a_fault_before_there_are_enough_queries_but_a_few_are_chance() -> None:
    few = Comparison(candidate=Tally(failed=3))
    assert judge_trial(few, BOUNDS, over=False).word == "watching"
    more = Comparison(candidate=Tally(failed=4))
    assert judge_trial(more, BOUNDS, over=False) == Opinion(
        "abort", "4 of 4 queries failed, 1.0% may"
    )


def test_what_fails_with_the_champion_too_is_no_fault_of_the_candidate() -> None:
    both = replace(GOOD, answered=900, empty=0, failed=100)
    assert judge_trial(Comparison(both, both), BOUNDS, over=True).word == "passed"


tallies = st.builds(
    Tally,
    answered=st.integers(0, 3000),
    empty=st.integers(0, 3000),
    unknown=st.integers(0, 3000),
    failed=st.integers(0, 3000),
    p99_ms=st.none() | st.floats(0.1, 1e4),
)


@given(champion=tallies, candidate=tallies, compared=st.integers(0, 3000), overlap=st.floats(0, 1))
def test_an_opinion_never_waits_for_a_time_that_is_up(
    champion: Tally, candidate: Tally, compared: int, overlap: float
) -> None:
    found = Comparison(champion, candidate, compared, overlap if compared else None)
    before, after = (judge_trial(found, BOUNDS, over=over) for over in (False, True))
    assert before.word in ("watching", "abort")
    assert after.word in ("passed", "inconclusive", "abort")
    assert (before.word == "abort") == (after.word == "abort")
    if after.word == "passed":
        assert candidate.asked >= BOUNDS.min_queries


@given(st.lists(tallies, max_size=4))
def test_replicas_are_joined(parts: list[Tally]) -> None:
    told = [{**vars(part), "p99_ms": part.p99_ms or 1.0} for part in parts]
    joined = Tally.joined(told)
    assert joined.asked == sum(part.asked for part in parts)
    times = [each["p99_ms"] for each in told if each["answered"]]
    if times:
        assert joined.p99_ms is not None
        assert min(times) * 0.999 <= joined.p99_ms <= max(times) * 1.001
    else:
        assert joined.p99_ms is None
