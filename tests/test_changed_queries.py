"""The answers of two bundles to the same queries, beside each other."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.answer_row import Shown
from pipelines.changed_queries import SHOWN, Answers, Query, compare
from pipelines.evidence_record import AnswerFacts

IDS = st.lists(st.sampled_from("abcdef"), unique=True, max_size=4)


def query(number: int, kind: str = "items") -> Query:
    return Query(kind, f"{number:03}", "Lamp", "Home > Lamps", f"{number}.jpg")


def given_ids(ids: str | list[str]) -> dict[str, Shown]:
    return {item: Shown(f"{item}.jpg", item, "Home > Lamps", 0.5) for item in ids}


def answers(*ids: str, kind: str = "items") -> Answers:
    return {query(number, kind): given_ids(each) for number, each in enumerate(ids)}


def test_the_most_changed_come_first_then_those_changed_at_an_earlier_place() -> None:
    was = answers("abcd", "abcd", "abcd", "abcd", "abcd")
    now = answers("abcd", "abce", "ebcd", "abdc", "aefg")
    facts, changed = compare(was, now)
    assert facts == AnswerFacts(
        asked={"photos": 0, "items": 5},
        overlap=0.75,  # (4 + 3 + 3 + 4 + 1) / 20
        overlaps={"items": 0.75},
        queries_changed=4,
    )
    told = [(each.query.item_id, each.overlap, each.rank) for each in changed]
    assert told == [("004", 0.25, 2), ("002", 0.75, 1), ("001", 0.75, 4), ("003", 1.0, 3)]
    marked = [[shown.title for shown in row if shown.marked] for row in changed[0].rows]
    assert marked == [["b", "c", "d"], ["e", "f", "g"]]


def test_only_what_both_answered_counts() -> None:
    was = {**answers("ab"), **answers("ab", kind="photos")}
    facts, changed = compare(was, answers("ab"))
    assert (facts.asked, facts.overlap, changed) == ({"photos": 0, "items": 1}, 1.0, [])
    assert compare(was, {}) == (AnswerFacts(), [])


def test_so_many_are_shown_and_all_are_counted() -> None:
    was, now = answers(*["a"] * 60), answers(*["b"] * 60)
    facts, changed = compare(was, now)
    assert (facts.queries_changed, len(changed), SHOWN) == (60, 50, 50)


@given(IDS, IDS)
def test_the_overlap_is_a_share_that_does_not_depend_on_the_side(
    one: list[str], other: list[str]
) -> None:
    ours, theirs = ({query(0): given_ids(ids)} for ids in (one, other))
    facts, changed = compare(ours, theirs)
    assert facts.overlap == compare(theirs, ours)[0].overlap
    assert facts.queries_changed == len(changed) == (one != other)
    longest = max(len(one), len(other))
    assert facts.overlap == (round(len({*one} & {*other}) / longest, 4) if longest else 1.0)
    for each in changed:
        assert one[: each.rank - 1] == other[: each.rank - 1]
        assert one[each.rank - 1 : each.rank] != other[each.rank - 1 : each.rank]
