"""How good each space is, and how sure that is: the table that a recipe is chosen by.

    exam = draw_exam(catalogue, ds, near_duplicate_bits=settings.ingest.near_duplicate_bits)
    vectors = exam.embed(together({"embedding": embed}))  # and later `| exam.embed(..)` of others
    evaluation = evaluate(exam, vectors, settings.gate.bootstrap_rounds)

All spaces answer the same queries in the same galleries, and the bootstrap draws the same queries
for all of them. Cost, on 2 busy cores: a second a space for 350 queries among 3,200 items, 14 s
for the 2,000 among 20,000 that an exam has at most.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from model.errors import BadInput
from model.evaluators import Interval, Summary, summaries
from model.probe import lift
from model.retrieval import Vectors
from pipelines.exam import CATEGORY, STREET_TO_SHOP, Exam

ATTRIBUTE = "attribute"  # the protocol of `model.probe`
DIGITS = 5


@dataclass(frozen=True)
class Figure:
    """Where a figure of every space stands: its protocol, level, slice and measure."""

    protocol: str
    level: str
    measure: str
    slice: str = "all"

    @property
    def title(self) -> str:
        start = "wild to " if self.protocol == STREET_TO_SHOP else ""
        end = "" if self.slice == "all" else f", {self.slice}"
        return f"{start}{self.level} {self.measure}{end}"


@dataclass(frozen=True)
class Score:
    """What one space reaches in one slice."""

    space: str
    protocol: str
    level: str
    slice: str
    summary: Summary


@dataclass(frozen=True)
class Evaluation:
    """The scores of all spaces, the baselines first, and how many photos each protocol searched."""

    galleries: Mapping[str, int]
    scores: tuple[Score, ...]

    @property
    def spaces(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(score.space for score in self.scores))

    @property
    def headlines(self) -> tuple[Figure, ...]:
        """The figures of the short table, as far as this shop has them."""
        places = dict.fromkeys((score.protocol, score.level) for score in self.scores)
        figures = [
            Figure(CATEGORY, "leaf", "precision@10"),
            Figure(CATEGORY, "leaf", "precision@10", "tail"),
            Figure(CATEGORY, "leaf", "mAP"),
            Figure(CATEGORY, "level_1", "precision@10"),
            *(Figure(name, level, "hit@20") for name, level in places if name == STREET_TO_SHOP),
            *(Figure(name, level, "lift") for name, level in places if name == ATTRIBUTE),
        ]
        return tuple(each for each in figures if any(self.find(s, each) for s in self.spaces))

    def find(self, space: str, figure: Figure) -> Interval | None:
        """None where nobody was asked, or nobody had a right answer to find."""
        place = (space, figure.protocol, figure.level, figure.slice)
        for score in self.scores:
            if (score.space, score.protocol, score.level, score.slice) == place:
                return score.summary.measures.get(figure.measure)
        return None

    def metrics(self, space: str) -> dict[str, float]:
        """Every mean over all queries, by a name that MLflow takes: `category/leaf/mAP`."""
        return {
            f"{score.protocol}/{score.level}/{measure.replace('@', '_at_')}": interval.value
            for score in self.scores
            if score.space == space and score.slice == "all"
            for measure, interval in score.summary.measures.items()
        }

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """The short table as text: titles, and a row for each space."""
        titles = ["space", *(figure.title for figure in self.headlines)]
        return titles, [
            [space, *(str(self.find(space, figure) or "") for figure in self.headlines)]
            for space in self.spaces
        ]

    def write(self, path: Path) -> None:
        """As JSON, a line for each score; a measure is [mean, low, high]."""
        scores = ",\n".join(json.dumps(_plain(score)) for score in self.scores)
        galleries = json.dumps(self.galleries)
        path.write_text(f'{{"galleries": {galleries}, "scores": [\n{scores}\n]}}\n')


def evaluate(exam: Exam, vectors: Mapping[str, Vectors], rounds: int) -> Evaluation:
    """The baselines and each space of `vectors`, float32 [photos of the exam, d] of unit length.

    An exam without queries gives no scores. Raises BadInput for vectors of other photos, or that
    are not of unit length.
    """
    for name, found in vectors.items():
        if len(found) != len(exam):
            raise BadInput(
                f"The vectors of `{name}` are not of this exam. Expected {len(exam)}, one for each "
                f"photo. Received: {len(found)}."
            )
    scores: list[Score] = []
    for name, found in {**exam.baselines, **vectors}.items():
        try:
            scores += answers(exam, name, found, rounds)
            scores += _probes(exam, name, found, rounds)
        except BadInput as error:
            raise BadInput(f"Space `{name}`: {error}") from error
    galleries = {name: len(question.base) for name, question in exam.questions.items()}
    return Evaluation(galleries, tuple(scores))


def answers(exam: Exam, name: str, vectors: Vectors, rounds: int) -> Iterator[Score]:
    """The scores of one space; `vectors` as `evaluate` takes them."""
    for protocol, question in exam.questions.items():
        found = question.task.measure(vectors[question.asked], vectors[question.base])
        clusters = exam.clusters[question.asked]
        for level, values in found.items():
            for part, summary in summaries(values, question.slices, clusters, rounds):
                yield Score(name, protocol, level, part, summary)


def _probes(exam: Exam, name: str, vectors: Vectors, rounds: int) -> Iterator[Score]:
    if CATEGORY not in exam.questions:
        return
    question = exam.questions[CATEGORY]
    for attribute, probe in exam.probes.items():
        share, chance = probe.measure(vectors[question.asked], vectors[question.base])
        summary = lift(share, chance, exam.clusters[question.asked], rounds)
        if summary.queries:
            yield Score(name, ATTRIBUTE, attribute, "all", summary)


def _plain(score: Score) -> dict[str, object]:
    return {
        "space": score.space,
        "protocol": score.protocol,
        "level": score.level,
        "slice": score.slice,
        "queries": score.summary.queries,
        "left_out": score.summary.left_out,
        "measures": {name: each.rounded(DIGITS) for name, each in score.summary.measures.items()},
    }
