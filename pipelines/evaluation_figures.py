"""An evaluation as pictures: the short table with its intervals, and what each space finds."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from PIL import Image

from model.errors import BadInput
from model.evaluators import Interval
from model.retrieval import Vectors, ranked
from model.taxonomy import split
from pipelines.evaluation import Evaluation, Figure
from pipelines.exam import BASELINES, Exam, Question
from pipelines.neighbours import OTHER, SAME_LEAF, SAME_PRODUCT, Row, Tile, draw_neighbours
from pipelines.tracking import plot_style

INK, PALE, LINE = "#2a6f97", "#9aa0a6", "#e0e3e7"
PANELS_A_ROW = 5
QUERIES, HITS = 4, 7


def draw_evaluation(evaluation: Evaluation) -> Picture:
    """A panel for each headline, a line for each space: the mean and its 95 % interval."""
    figures, spaces = evaluation.headlines, evaluation.spaces
    columns = min(max(len(figures), 1), PANELS_A_ROW)
    rows = max(-(-len(figures) // columns), 1)
    with plot_style():
        size = (1.6 + 2.3 * columns, 0.5 + rows * (0.8 + 0.3 * len(spaces)))
        picture = Picture(figsize=size, layout="constrained")
        panels = picture.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for axes, figure in zip(panels, figures, strict=False):
            found = {space: evaluation.find(space, figure) for space in spaces}
            _draw_panel(axes, figure, found)
        for axes in panels[len(figures) :]:
            axes.set_visible(False)
        panels[0].set_yticks(range(len(spaces)), spaces)
        panels[0].set_ylim(len(spaces) - 0.5, -0.7)
        picture.supxlabel("dot: mean    line: 95 % interval    pale: baselines", fontsize=9)
    return picture


def _draw_panel(axes: Axes, figure: Figure, found: Mapping[str, Interval | None]) -> None:
    for place, (space, interval) in enumerate(found.items()):
        if interval is None:
            continue
        colour = PALE if space in BASELINES else INK
        axes.plot([interval.low, interval.high], [place] * 2, color=colour, lw=2, alpha=0.5)
        axes.plot(interval.value, place, "o", color=colour, ms=5)
        axes.annotate(
            f"{interval.value:.2f}",
            (interval.value, place),
            (0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=7,
            color=colour,
        )
    if figure.measure == "lift":
        axes.axvline(1, color=LINE, zorder=0)
        axes.set_xlim(left=0)
        axes.set_xlabel("times chance")
    else:
        axes.set_xlim(-0.03, 1.03)
    axes.set_title(figure.title, loc="left", fontsize=9)


def draw_spaces(
    exam: Exam, vectors: Mapping[str, Vectors], *, title: str = "Neighbours in each space"
) -> Image.Image:
    """A few queries of each protocol and, one above the other, what every space finds for them.

    `vectors` as `evaluate` takes them, but without the baselines unless they are in it. The photos
    are as the network sees them. Raises BadInput when there is nobody to ask.
    """
    if not exam.questions:
        raise BadInput(
            "There is nothing to draw. Expected photos that nothing was trained on, and items to "
            "search. Received: none. Give some products the split `test`."
        )
    rows = [
        _row(exam, name, found, question, query)
        for question, query in _shown(exam)
        for name, found in vectors.items()
    ]
    subtitle = "Left: a photo that nothing was trained on, and the space that was searched."
    return draw_neighbours(rows, title, subtitle)


def _shown(exam: Exam) -> Iterator[tuple[Question, int]]:
    """Queries by their places, each of another leaf; as many of each protocol, the wild first."""
    leaf, shown = exam.items["leaf"].to_numpy(), set()
    for question in reversed(list(exam.questions.values())):
        left = QUERIES // len(exam.questions)
        for query, row in enumerate(question.asked):
            if left and leaf[row] not in shown:
                shown.add(leaf[row])
                left -= 1
                yield question, query


def _row(exam: Exam, name: str, vectors: Vectors, question: Question, query: int) -> Row:
    """The query, captioned with the space's name, and its hits."""
    own, asked = question.task.own, int(question.asked[query])
    allowed = own.take(np.array([query]), np.arange(len(own.base))).differ if own else None
    _, order, may = next(ranked(vectors[asked][None], vectors[question.base], allowed))
    photo, item = _photo(exam, asked)
    hits = [_hit(exam, int(hit), item) for hit in question.base[order[0][may[0]][:HITS]]]
    return Row(Tile(photo, name, split(item["category"])[-1]), hits)


def _hit(exam: Exam, row: int, query: dict[str, Any]) -> Tile:
    photo, item = _photo(exam, row)
    same = item["product_id"] == query["product_id"]
    colour = SAME_PRODUCT if same else SAME_LEAF if item["leaf"] == query["leaf"] else OTHER
    return Tile(photo, item["title"] or item["item_id"], split(item["category"])[-1], colour)


def _photo(exam: Exam, row: int) -> tuple[Image.Image, dict[str, Any]]:
    return Image.fromarray(exam.pixels[row : row + 1][0]), exam.items.slice(row, 1).to_pylist()[0]
