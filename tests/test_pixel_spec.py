"""The one line of text that says what pixels are made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BadInput
from model.pixel_spec import PixelSpec


@given(st.integers(8, 1024))
def test_a_spec_reads_what_it_writes(side: int) -> None:
    assert PixelSpec.parse(str(PixelSpec(side))) == PixelSpec(side)
    assert str(PixelSpec(side)) == f"decode|orient|resize({side})|pad"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "decode",
        "decode|orient|resize(7)|pad",
        "decode|orient|resize(1025)|pad",
        "decode|orient|resize(-64)|pad",
        "decode|orient|resize(64.0)|pad",
        "decode|orient|resize()|pad",
        "decode|orient|resize(64)|pad ",
        "decode|orient|resize(64)|pad\n",
        "decode|orient|resize(64)|crop",
        "orient|decode|resize(64)|pad",
        "decode|orient|resize(64)|pad|pad",
    ],
)
def test_other_specs_are_refused(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        PixelSpec.parse(text)
    assert str(caught.value) == (
        f"Invalid pixel spec. Expected `decode|orient|resize(SIDE)|pad` with SIDE from 8 to 1024. "
        f"Received: {text!r}."
    )
