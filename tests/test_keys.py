"""Keys are read from text, found by their secret, and forget it."""

from hypothesis import given
from hypothesis import strategies as st

from serving.keys import MIN_SECRET, Keys, read_pairs

NAMES = st.from_regex(r"[A-Za-z0-9_.@-]{1,20}", fullmatch=True)
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=MIN_SECRET).map(
    lambda text: text.replace(",", ";")
)
PAIRS = st.lists(
    st.tuples(NAMES, SECRETS), min_size=1, max_size=5, unique_by=(lambda p: p[0], lambda p: p[1])
)


@given(PAIRS, st.sampled_from([",", ", ", " ,\n"]))
def test_pairs_are_read_as_they_are_written(pairs: list[tuple[str, str]], comma: str) -> None:
    assert read_pairs(comma.join(f"{name}:{secret}" for name, secret in pairs)) == pairs


@given(PAIRS, st.integers(0, 5))
def test_a_key_is_found_by_its_secret(pairs: list[tuple[str, str]], operators: int) -> None:
    keys = Keys(pairs[:operators], pairs[operators:])
    assert keys.search_is_open == (len(pairs) <= operators)
    for number, (name, secret) in enumerate(pairs):
        key = keys.find(secret.encode())
        assert key is not None
        assert (key.name, key.operator) == (name, number < operators)
        assert secret not in repr(vars(keys))
        assert keys.find(secret.encode()[:-1]) is None
        assert keys.find(secret.encode() + b"x") is None
    assert keys.find(b"") is None
