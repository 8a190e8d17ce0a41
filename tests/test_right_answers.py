"""Answers beside what the catalogue knows of them."""

import numpy as np
import pyarrow as pa

from pipelines.queries import Queries
from pipelines.right_answers import RightAnswers
from serving.index import MISSING


def rows(leaves: str, products: str) -> pa.Table:
    return pa.table({"category": list(leaves), "product_id": list(products)})


def of(asked: pa.Table, wild: list[int]) -> RightAnswers:
    mask = np.array(wild, bool)
    return RightAnswers(rows("AABC", "pqrs"), Queries(asked, {"wild": mask} if mask.any() else {}))


def test_shares_of_the_own_leaf() -> None:
    labels = of(rows("ABZ", "xyz"), [0, 0, 0])
    found = np.array([[0, 1, 2, 3], [2, 0, 1, MISSING], [0, 1, 2, 3]], np.int32)
    right = labels.of_leaf(found)
    np.testing.assert_array_equal(right, [0.5, 0.25, np.nan])  # nothing is of Z
    assert labels.chance(~np.isnan(right)) == np.mean([2 / 4, 1 / 4])
    assert np.isnan(labels.of_leaf(found[:, :0])).all()


def test_a_missing_answer_is_not_the_last_item() -> None:
    labels = of(rows("C", "s"), [1])
    found = np.array([[0, MISSING]], np.int32)
    assert labels.of_leaf(found).tolist() == [0.0]
    hits = dict(labels.wild_hits(found))
    assert (hits["product_hit@10"], hits["leaf_hit@10"]) == (0.0, 0.0)


def test_only_wild_photos_whose_product_is_there_look_for_it() -> None:
    labels = of(rows("AABZ", "pqxq"), [1, 1, 1, 0])
    found = np.array([[0, 1], [2, 1], [2, 0], [1, 0]], np.int32)
    assert dict(labels.wild_hits(found)) == {
        "product_queries": 2.0,
        "product_hit@1": 0.5,
        "product_hit@5": 1.0,
        "product_hit@10": 1.0,
        "leaf_queries": 3.0,
        "leaf_hit@1": round(2 / 3, 4),
        "leaf_hit@5": 1.0,
        "leaf_hit@10": 1.0,
    }
    assert dict(of(rows("A", "p"), [0]).wild_hits(found[:1])) == {}
