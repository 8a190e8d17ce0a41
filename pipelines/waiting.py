"""Candidates that wait: for a review, or for a rollout that somebody has to carry on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pipelines.decisions import latest_about
from pipelines.evidence_record import PAGE
from pipelines.settings import Settings
from pipelines.step import Partition, is_locked
from serving.ledger import ROLLS_OUT, Entry, read_ledger, standing

ROLLOUT_LOCK = "rollout.lock"  # held by the process that carries a rollout


@dataclass(frozen=True)
class Waiting:
    """A candidate without a review."""

    version: str
    ds: date
    bundle: str
    page: str | None  # to decide by; None: only MLflow has it, with the version

    @property
    def line(self) -> str:
        page = self.page or "its evidence is in MLflow, with the version"
        return f"version {self.version:>3}  {self.ds}  bundle {self.bundle}  {page}"


def to_carry_on(settings: Settings) -> Entry | None:
    """The last decision about the newest candidate that is approved, or in a rollout which no
    process carries: who waits for one that does would keep a rollback from its turn.
    """
    if is_locked(settings.root / "locks" / ROLLOUT_LOCK):
        return None
    return newest_approved(read_ledger(settings.root))


def newest_approved(entries: Sequence[Entry]) -> Entry | None:
    """The last decision about the newest candidate that has not come to its end."""
    champion = standing(reversed(entries)).champion
    for entry in reversed(entries):
        latest = latest_about(entries, entry.bundle)
        if entry is latest and entry.action in ("approve", *ROLLS_OUT):
            return None if champion is not None and champion.ds > entry.ds else entry
    return None


def waiting_for_review(settings: Settings) -> list[Waiting]:
    """The newest first."""
    from pipelines.registry import list_versions  # MLflow takes seconds to import

    entries = read_ledger(settings.root)
    return [
        Waiting(each.number, each.ds, each.digest, _page(settings, each.ds, each.digest))
        for each in list_versions(settings)
        if each.stage == "Staging" and latest_about(entries, each.digest) is None
    ]


def _page(settings: Settings, ds: date, digest: str) -> str | None:
    evidence = Partition(settings, "evidence", ds)
    report = evidence.report()
    if report is None or report.inputs["bundle"] != digest:
        return None
    return str(evidence.output / PAGE)
