"""The table of spaces: what it holds, how it is written, and its pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_exam import DAY, catalogue, leaf_space, row, shop_rows

from model.errors import BadInput
from model.evaluators import Interval
from pipelines.evaluation import Evaluation, Figure, evaluate
from pipelines.evaluation_figures import HITS, QUERIES, _hit, _shown, draw_evaluation, draw_spaces
from pipelines.exam import BASELINES, CATEGORY, STREET_TO_SHOP, Exam, draw_exam, together
from pipelines.neighbours import CAPTION, GAP, MARGIN, OTHER, SAME_LEAF, SAME_PRODUCT, SCALE, TILE

ROUNDS = 50
ONE = Interval(*[pytest.approx(1.0)] * 3)


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> Exam:
    shop = catalogue(tmp_path_factory.mktemp("exam"), shop_rows())
    return draw_exam(shop, DAY, near_duplicate_bits=12)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Exam:
    """A shop without a photo to ask with."""
    shop = catalogue(tmp_path_factory.mktemp("empty"), [row("lamp", 0)])
    return draw_exam(shop, DAY, near_duplicate_bits=12)


@pytest.fixture(scope="module")
def evaluation(exam: Exam) -> Evaluation:
    return evaluate(exam, exam.embed(together({"leaf": leaf_space})), ROUNDS)


def test_a_space_that_knows_the_leaf_is_right_and_knows_no_colour(evaluation: Evaluation) -> None:
    assert evaluation.spaces == (*BASELINES, "leaf")
    assert evaluation.galleries == {CATEGORY: 48, STREET_TO_SHOP: 64}
    for level in ("level_1", "leaf"):
        for measure in ("precision@10", "mAP", "hit@1", "MRR", "nDCG@10"):
            assert evaluation.find("leaf", Figure(CATEGORY, level, measure)) == ONE
    tops = Figure(CATEGORY, "leaf", "mAP", "category Toys")
    assert evaluation.find("leaf", tops) == ONE
    lift = evaluation.find("leaf", Figure("attribute", "colour", "lift"))
    assert lift is not None
    assert lift.low < 1.5
    baseline = evaluation.find(BASELINES[0], Figure(CATEGORY, "leaf", "mAP"))
    assert baseline is not None
    assert baseline.high < 0.6  # noise tells no leaf
    shop = evaluation.find("leaf", Figure(STREET_TO_SHOP, "product", "hit@20"))
    assert shop == ONE  # sixteen of the leaf


def test_what_was_not_asked_is_not_found(evaluation: Evaluation) -> None:
    assert evaluation.find("leaf", Figure(CATEGORY, "leaf", "hit@7")) is None
    assert evaluation.find("leaf", Figure(CATEGORY, "leaf", "mAP", "tail")) is None
    assert evaluation.find("another", Figure(CATEGORY, "leaf", "mAP")) is None


def test_the_short_table(evaluation: Evaluation) -> None:
    titles, rows = evaluation.rows()
    assert titles == [
        "space",
        "leaf precision@10",
        "leaf mAP",
        "level_1 precision@10",
        "wild to product hit@20",
        "colour lift",
    ]
    assert [line[0] for line in rows] == [*BASELINES, "leaf"]
    assert rows[-1][1:5] == ["1.000 (1.00 to 1.00)"] * 4


def test_the_metrics_have_names_that_mlflow_takes(evaluation: Evaluation) -> None:
    metrics = evaluation.metrics("leaf")
    assert metrics["category/leaf/precision_at_10"] == 1.0
    assert metrics["street_to_shop/product/hit_at_20"] == 1.0
    assert "attribute/colour/lift" in metrics
    assert len(metrics) == 7 + 7 + 7 + 3
    assert not any(
        set(name) - set("abcdefghijklmnopqrstuvwxyzACDGMPR_/0123456789") for name in metrics
    )
    assert evaluation.metrics("another") == {}


def test_what_is_written_is_the_whole_table(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.write(tmp_path / "evaluation.json")
    held = json.loads((tmp_path / "evaluation.json").read_bytes())
    assert held["galleries"] == {"category": 48, "street_to_shop": 64}
    assert len(held["scores"]) == len(evaluation.scores)
    assert held["scores"][-1]["measures"].keys() == {"share", "chance", "lift"}
    first = next(each for each in held["scores"] if each["space"] == "leaf")
    recall = round(10 / 24, 5)
    assert first == {
        "space": "leaf",
        "protocol": "category",
        "level": "level_1",
        "slice": "all",
        "queries": 24,
        "left_out": 0,
        "measures": {
            "precision@10": [1.0, 1.0, 1.0],
            "recall@10": [recall, recall, recall],
            "hit@1": [1.0, 1.0, 1.0],
            "hit@10": [1.0, 1.0, 1.0],
            "mAP": [1.0, 1.0, 1.0],
            "nDCG@10": [1.0, 1.0, 1.0],
            "MRR": [1.0, 1.0, 1.0],
        },
    }


def test_the_same_vectors_give_the_same_table(exam: Exam, evaluation: Evaluation) -> None:
    again = evaluate(exam, exam.embed(together({"leaf": leaf_space})), ROUNDS)
    assert again == evaluation


def test_vectors_of_other_photos_are_refused(exam: Exam) -> None:
    with pytest.raises(BadInput, match=f"`x` are not of this exam. Expected {len(exam)}"):
        evaluate(exam, {"x": np.ones((3, 1), np.float32)}, ROUNDS)
    with pytest.raises(BadInput, match="Space `x`: .* cannot be compared by cosine"):
        evaluate(exam, {"x": np.full((len(exam), 2), np.nan, np.float32)}, ROUNDS)


def test_a_shop_without_queries_has_no_scores(empty: Exam, tmp_path: Path) -> None:
    found = evaluate(empty, empty.embed(together({"leaf": leaf_space})), ROUNDS)
    assert found == Evaluation({}, ())
    assert (found.headlines, found.rows()) == ((), (["space"], []))
    found.write(tmp_path / "evaluation.json")
    assert json.loads((tmp_path / "evaluation.json").read_bytes()) == {
        "galleries": {},
        "scores": [],
    }
    with pytest.raises(BadInput, match="Give some products the split `test`"):
        draw_spaces(empty, {})


def test_the_figure_has_a_panel_for_each_headline(evaluation: Evaluation) -> None:
    panels = draw_evaluation(evaluation).axes
    titles = [axes.get_title(loc="left") for axes in panels if axes.get_visible()]
    assert titles == [figure.title for figure in evaluation.headlines]
    dots = [float(line.get_xdata()[0]) for line in panels[0].lines if len(line.get_xdata()) == 1]
    means = [evaluation.find(space, evaluation.headlines[0]) for space in evaluation.spaces]
    assert dots == [mean.value for mean in means if mean]
    names = [label.get_text() for label in panels[0].get_yticklabels()]
    assert names == list(evaluation.spaces)
    assert len(draw_evaluation(Evaluation({}, ())).axes) == 1


def test_the_sheet_shows_each_query_in_every_space(exam: Exam) -> None:
    vectors = exam.embed(together({"leaf": leaf_space, "again": leaf_space}))
    one = draw_spaces(exam, vectors)
    rows = QUERIES * len(vectors)
    assert one.size == (
        SCALE * (2 * MARGIN + (1 + HITS) * (TILE + GAP)),
        SCALE * (2 * MARGIN + 64 + rows * (TILE + CAPTION + GAP)),
    )
    assert one.tobytes() == draw_spaces(exam, vectors).tobytes()


def test_each_query_of_the_sheet_is_of_another_leaf(exam: Exam) -> None:
    items = exam.items.to_pylist()
    shown = [items[int(question.asked[query])] for question, query in _shown(exam)]
    assert [item["kind"] for item in shown[:2]] == ["wild", "wild"]
    assert sorted(item["leaf"] for item in shown) == list(range(QUERIES))


def test_a_hit_says_how_near_it_is(exam: Exam) -> None:
    items = exam.items.to_pylist()
    query = next(item for item in items if item["kind"] == "wild")
    expected = {True: SAME_PRODUCT, False: SAME_LEAF, None: OTHER}
    for number, item in enumerate(items):
        found = _hit(exam, number, query)
        product = item["product_id"] == query["product_id"]
        same = product if item["leaf"] == query["leaf"] else None
        assert (found.colour, found.caption) == (expected[same], item["item_id"])
