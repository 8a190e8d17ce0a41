"""What is known of a candidate beside the bundle that it would replace: facts, for a policy."""

from datetime import date

from pydantic import BaseModel, ConfigDict

from model.errors import Refused
from pipelines.settings import Settings
from pipelines.step import Partition

RECORD, PAGE = "evidence.json", "evidence.html"


class Frozen(BaseModel):
    """A part of the record."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Shift(Frozen):
    """A category that has another number of items."""

    category: str
    was: int
    now: int


class StepCost(Frozen):
    """What a step of the day took when it last did its work."""

    step: str
    seconds: float
    rows: int


class Serving(Frozen):
    """What a real server on the bundle showed when it was blessed."""

    p50_ms: dict[str, float | None]  # of `items` and `photos`
    p99_ms: dict[str, float | None]
    load_seconds: float | None
    memory_bytes: int | None


class DataFacts(Frozen):
    """The items of both bundles. None: nobody can tell."""

    items: int
    champion_items: int | None = None
    added: int | None = None
    removed: int | None = None
    changed: int | None = None  # items of both with another photo
    restated: dict[str, int] = {}  # items of both with another value, by column
    categories_added: tuple[str, ...] = ()  # paths that have items now and had none
    categories_gone: tuple[str, ...] = ()
    categories_moved: dict[str, tuple[str, ...]] = {}  # since the champion, with what took over
    categories_unlearned: tuple[str, ...] = ()  # that the embedder was never taught
    shifts: tuple[Shift, ...] = ()  # the largest


class AnswerFacts(Frozen):
    """Both bundles asked the same. None: there is no champion, or it could not be asked."""

    asked: dict[str, int] = {}  # queries of `items` and `photos`
    overlap: float | None = None  # mean share of answers that both give
    overlaps: dict[str, float] = {}  # the same by kind of query
    queries_changed: int = 0  # that are answered otherwise


class Evidence(Frozen):
    """One candidate. Figures of the champion are None where there is none, or none are left."""

    ds: date
    bundle: str
    champion: str | None
    champion_ds: date | None
    champion_version: str | None
    champion_fault: str | None  # why it could not be read or asked
    data: DataFacts
    retrained: bool  # another embedder than the champion's, or nobody can tell
    space_changed: bool  # its vectors do not compare with the champion's, or nobody can tell
    recall: float | None  # recall@k of the slice `all`, by the gate
    champion_recall: float | None  # the same on its own day
    leaf_precision: float | None  # share of answers in the query's own category
    champion_leaf_precision: float | None  # on the same queries; None: the gate had another
    churn_net: float | None  # share of its answers that changed, less a build's luck; the same
    answers: AnswerFacts
    serving: Serving
    champion_serving: Serving | None
    steps: tuple[StepCost, ...]

    @property
    def seconds(self) -> float:
        """Of all steps of the day so far."""
        return round(sum(step.seconds for step in self.steps), 3)


def read_evidence(settings: Settings, ds: date, digest: str) -> Evidence:
    """The record of this bundle. Raises Refused where none was gathered."""
    report = Partition(settings, "evidence", ds).report()
    if report is None or report.inputs["bundle"] != digest:
        raise Refused(
            f"There is no evidence for bundle {digest}. Expected a page that compares it with what "
            f"serves. Run it first: python -m pipelines.evidence --ds {ds}"
        )
    path = Partition(settings, "evidence", ds).output / RECORD
    return Evidence.model_validate_json(path.read_bytes())
