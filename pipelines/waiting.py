"""Candidates that wait: for a review, or for a rollout that somebody has to carry on."""

from collections.abc import Sequence
from datetime import date

from pipelines.decisions import latest_about
from pipelines.evidence_record import PAGE
from pipelines.settings import Settings
from pipelines.step import Partition
from serving.ledger import ROLLS_OUT, Entry, read_ledger, standing


def to_carry_on(entries: Sequence[Entry]) -> Entry | None:
    """The last decision about the newest candidate that is approved or in a rollout."""
    champion = standing(reversed(entries)).champion
    for entry in reversed(entries):
        latest = latest_about(entries, entry.bundle)
        if entry is latest and entry.action in ("approve", *ROLLS_OUT):
            return None if champion is not None and champion.ds > entry.ds else entry
    return None


def waiting_lines(settings: Settings) -> list[str]:
    """A line for each candidate without a review, with the page to decide by."""
    from pipelines.registry import list_versions  # MLflow takes seconds to import

    entries = read_ledger(settings.root)
    return [
        f"version {version.number:>3}  {version.ds}  bundle {version.digest}  "
        f"{_page(settings, version.ds, version.digest)}"
        for version in list_versions(settings)
        if version.stage == "Staging" and latest_about(entries, version.digest) is None
    ]


def _page(settings: Settings, ds: date, digest: str) -> str:
    evidence = Partition(settings, "evidence", ds)
    report = evidence.report()
    if report is None or report.inputs["bundle"] != digest:
        return "its evidence is in MLflow, with the version"
    return str(evidence.output / PAGE)
