"""Which photos ask, which are searched, and that no query can find itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_exam import DAY, Row, catalogue, leaf_space, photo, row, shop_rows, wild

from model.errors import BadInput
from model.evaluators import Mask
from model.probe import UNKNOWN
from pipelines import exam as exam_module
from pipelines.exam import CATEGORY, STREET_TO_SHOP, Exam, Question, draw_exam, together

BITS = 12


def draw(folder: Path, rows: list[Row], **given: Any) -> Exam:
    return draw_exam(catalogue(folder, rows), DAY, near_duplicate_bits=BITS, **given)


def names(exam: Exam, rows: np.ndarray) -> set[str]:
    return set(np.array(exam.items["item_id"].to_pylist(), object)[rows].tolist())


def asks(exam: Exam, protocol: str) -> set[str]:
    return names(exam, exam.questions[protocol].asked)


def searched(exam: Exam, protocol: str) -> set[str]:
    return names(exam, exam.questions[protocol].base)


def sliced(question: Question) -> dict[str, int]:
    return {name: int(mask.sum()) for name, mask in question.slices.items()}


def test_who_asks_and_what_is_searched(tmp_path: Path) -> None:
    rows = [
        row("trained", 0),
        row("kept", 0, split="val"),
        row("unseen", 1, split="none"),
        row("test", 0, split="test"),
        wild("street", 0, product_id="test"),
        wild("street, trained on", 0, split="train"),
        wild("street, val", 0, split="val"),
    ]
    exam = draw(tmp_path, rows)
    assert asks(exam, CATEGORY) == {"test", "street"}
    assert searched(exam, CATEGORY) == {"trained", "kept", "unseen"}
    assert asks(exam, STREET_TO_SHOP) == {"street"}
    assert searched(exam, STREET_TO_SHOP) == {"trained", "kept", "unseen", "test"}
    both = draw(tmp_path, rows, splits=("val", "test"))
    assert asks(both, CATEGORY) == {"test", "street", "kept", "street, val"}
    assert list(exam.questions[STREET_TO_SHOP].task.levels) == ["product"]


def test_photos_lie_in_the_order_of_their_digests(tmp_path: Path) -> None:
    rows = shop_rows()
    exam = draw(tmp_path, rows)
    keys = exam.items["pixel_key"].to_pylist()
    assert keys == sorted(each["pixel_key"] for each in rows)
    shuffled = np.random.default_rng(0).permutation(np.array(rows, object)).tolist()
    again = draw(tmp_path / "again", shuffled)
    assert again.items == exam.items
    for name, question in exam.questions.items():
        np.testing.assert_array_equal(again.questions[name].asked, question.asked)
        np.testing.assert_array_equal(again.questions[name].base, question.base)
        assert (np.diff(question.base) > 0).all()  # the right ones must not come first


def test_training_photos_prove_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="trained on proves nothing"):
        draw(tmp_path, shop_rows(), splits=("test", "train"))


def test_a_product_and_its_near_duplicates_are_no_answers(tmp_path: Path) -> None:
    """`view` is of the query's group but, as a feed may say, of split `none`."""
    exam = draw(
        tmp_path,
        [
            row("asks", 0, split="test", group=5),
            row("view", 0, split="none", group=5),
            row("other", 0, group=6),
        ],
    )
    question = exam.questions[CATEGORY]
    assert question.task.own is not None
    same = dict(zip(names_in_order(exam, question.base), same_of(question), strict=True))
    assert same == {"view": True, "other": False}
    equal = np.ones((len(exam), 1), np.float32)
    found = question.task.measure(equal[question.asked], equal[question.base])
    assert found["leaf"]["hit@1"].tolist() == [1.0]
    assert found["leaf"]["recall@10"].tolist() == [1.0]


def names_in_order(exam: Exam, rows: np.ndarray) -> list[str]:
    return [str(exam.items["item_id"][int(each)]) for each in rows]


def same_of(question: Question) -> list[bool]:
    own = question.task.own
    mask: Mask = own.same(slice(0, 1)) if own else np.zeros((1, 0), bool)
    return list(mask[0].tolist())


def test_a_wild_photo_that_is_in_the_catalogue_does_not_ask(tmp_path: Path) -> None:
    lamp = row("lamp", 0)
    nearly = bytearray(lamp["phash"])
    nearly[0] ^= 1  # one bit of 256
    rows = [
        lamp,
        row("rug", 1),
        wild("same bytes", 0, pixel_key=lamp["pixel_key"], product_id="lamp"),
        wild(
            "same look",
            0,
            product_id="lamp",
            phash=bytes(nearly),
            signature=lamp["signature"],
        ),
        wild("own photo", 0, product_id="lamp"),
        wild("no look", 0, product_id="lamp", phash=None, signature=None),
    ]
    exam = draw(tmp_path, rows)
    assert asks(exam, STREET_TO_SHOP) == {"own photo", "no look"}


def test_slices_name_parts_only(tmp_path: Path) -> None:
    exam = draw(tmp_path, shop_rows())
    assert sliced(exam.questions[CATEGORY]) == {
        "all": 24,
        "catalogue": 16,
        "wild": 8,
        "category Home": 12,
        "category Toys": 12,
    }
    assert sliced(exam.questions[STREET_TO_SHOP]) == {
        "all": 8,
        "category Home": 4,
        "category Toys": 4,
    }


def test_the_tail_and_what_is_new(tmp_path: Path) -> None:
    """Leaves of 20, 2 and 3 training photos: the last two hold a fifth."""
    rows = [
        row(f"{leaf}-{number}", leaf, split="train" if number else "test")
        for leaf, count in enumerate((20, 2, 3))
        for number in range(count + 1)
    ]
    rows[0]["first_seen"] = DAY.isoformat()
    question = draw(tmp_path, rows).questions[CATEGORY]
    asked = names_in_order(draw(tmp_path, rows), question.asked)
    tail, new = (
        {name for name, yes in zip(asked, question.slices[part], strict=True) if yes}
        for part in ("tail", "new")
    )
    assert (tail, new) == ({"1-0", "2-0"}, {"0-0"})


def test_an_exam_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exam_module, "MAX_QUERIES", 6)
    monkeypatch.setattr(exam_module, "MAX_ITEMS", 10)
    exam = draw(tmp_path, shop_rows())
    question, shop = exam.questions[CATEGORY], exam.questions[STREET_TO_SHOP]
    assert (len(question.asked), len(shop.asked), len(shop.base)) == (6, 3, 10)
    items = exam.items.to_pylist()
    wanted = {items[each]["product_id"] for each in shop.asked}
    held = [items[each]["product_id"] for each in shop.base]
    assert {name: held.count(name) for name in wanted} == dict.fromkeys(wanted, 2)
    assert not set(question.asked.tolist()) & set(question.base.tolist())


def test_wild_photos_fill_the_places_that_nobody_else_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exam_module, "MAX_QUERIES", 6)
    rows = [row("icon", 0), *(wild(f"w{number}", 0) for number in range(9))]
    exam = draw(tmp_path, rows)
    assert len(exam.questions[CATEGORY].asked) == 6
    assert list(exam.questions[STREET_TO_SHOP].task.levels) == ["leaf"]  # no common product


@pytest.mark.parametrize(
    ("rows", "protocols"),
    [
        ([row("only trained", 0)], []),
        ([row("only asked", 0, split="test")], []),
        ([wild("only wild", 0)], []),
        ([], []),
        ([row("a", 0), row("b", 0, split="test")], [CATEGORY]),
        # Its one item asks itself, so there is no category to search.
        ([row("b", 0, split="test"), wild("w", 0)], [STREET_TO_SHOP]),
    ],
)
def test_a_protocol_that_nobody_can_be_asked_by_is_left_out(
    tmp_path: Path, rows: list[Row], protocols: list[str]
) -> None:
    filler = wild("filler", 0, split="none")  # a store needs a photo
    exam = draw(tmp_path, [*rows, filler])
    assert list(exam.questions) == protocols


def test_attributes_are_those_that_many_photos_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        row(str(number), 0, attributes=[("colour", "red" if number % 2 else "blue")])
        for number in range(20)
    ]
    rows[0] |= {"attributes": [("rare", "x"), ("colour", "")], "brand": "Zelmar"}
    rows[1] |= {"brand": "Yarrow", "split": "test"}
    exam = draw(tmp_path, rows)
    assert list(exam.probes) == ["brand", "colour"]
    values = exam.probes["colour"].value
    assert sorted(np.unique(values.base, return_counts=True)[1].tolist()) == [1, 9, 9]
    assert (values.base == UNKNOWN).sum() == 1
    assert values.asked.tolist() != [UNKNOWN]
    monkeypatch.setattr(exam_module, "MAX_ATTRIBUTES", 1)
    assert list(draw(tmp_path, rows).probes) == ["colour"]


def test_vectors_are_of_the_photos_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exam_module, "BATCH", 7)
    exam = draw(tmp_path, shop_rows())
    found = exam.embed(
        together({"leaf": leaf_space, "half": lambda pixels: leaf_space(pixels) / 2})
    )
    expected = leaf_space(np.stack([photo(each) for each in exam.items.to_pylist()]))
    assert list(found) == ["leaf", "half"]
    np.testing.assert_array_equal(found["leaf"], expected)
    np.testing.assert_array_equal(found["half"], expected / 2)


def test_the_baselines_are_fitted_on_training_photos(tmp_path: Path) -> None:
    rows = shop_rows()
    exam = draw(tmp_path, rows)
    trained = sorted(photo(each).tobytes() for each in rows if each["split"] == "train")
    assert sorted(each.tobytes() for each in exam.fitted[:]) == trained
    assert {name: len(each) for name, each in exam.baselines.items()} == {
        "colour histogram": len(exam),
        "pixel components": len(exam),
    }
    assert exam.baselines is exam.baselines
