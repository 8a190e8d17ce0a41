"""Gather what a reviewer needs to decide on the day's bundle, as one page and as facts.

    python -m pipelines.evidence --ds 2026-11-20

The gate and the blessing have said that the bundle may serve; whether it should is seen beside the
one that it would replace. Items, categories, embedder and index of both are compared, both are
asked the same photos and items, and the queries that are answered most differently are shown. It
never refuses: a champion that is damaged or gone is said to be so. `register` stores the page with
the version. Cost: 4 s to open each bundle and a second for 100 queries of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import structlog

from model.errors import Damaged, LookalikeError
from pipelines.bundle import bundle_digest
from pipelines.changed_queries import Changed, ask, compare, drawn_items, drawn_photos
from pipelines.decisions import decisions_on, predecessor
from pipelines.differences import (
    data_facts,
    gate_champion,
    items_of,
    leaf_precision,
    recall_of,
    rival,
    serving_facts,
    serving_facts_left,
    step_costs,
)
from pipelines.evidence_page import Page, evidence_page
from pipelines.evidence_record import PAGE, RECORD, AnswerFacts, Evidence
from pipelines.settings import Settings
from pipelines.step import Outcome, Partition, Report, command, run_step
from pipelines.thumbnails import thumbnails
from serving.bundle import Bundle, verify
from serving.ledger import Entry, read_ledger

log = structlog.get_logger()


def run(settings: Settings, ds: date) -> Report:
    """Write the record and the page."""
    digest = bundle_digest(settings, ds)
    serving_facts(settings, digest)
    now = predecessor(read_ledger(settings.root), digest)
    inputs = {
        "bundle": digest,
        "champion": now.bundle if now else "",
        "blessing": Partition(settings, "bless", ds).done().digest,
        "settings": settings.evidence.model_dump_json(),
        "k": str(settings.gate.k),
    }
    return run_step(
        settings,
        "evidence",
        ds,
        inputs=inputs,
        body=lambda folder: _evidence(settings, ds, now, folder),
        intact=_is_whole,
    )


def _is_whole(output: Path) -> bool:
    """What lacks the champion's part is done again: its files may have come back."""
    record = Evidence.model_validate_json((output / RECORD).read_bytes())
    return record.champion_fault is None


@dataclass(frozen=True)
class Champion:
    """The bundle that would be replaced, and what it and the candidate answered."""

    bundle: Bundle | None
    fault: str | None
    facts: AnswerFacts = AnswerFacts()
    changed: Sequence[Changed] = ()


def _evidence(settings: Settings, ds: date, entry: Entry | None, folder: Path) -> Outcome:
    digest = bundle_digest(settings, ds)
    candidate = verify(settings.root / "bundles" / digest, digest)
    champion = _asked(settings, ds, candidate, entry) if entry else Champion(None, None)
    evidence = _record(settings, ds, candidate, entry, champion)
    page = Page(
        evidence=evidence,
        manifest=candidate.manifest,
        former=champion.bundle.manifest if champion.bundle else None,
        changed=champion.changed,
        thumbnails=thumbnails(settings.root, _photos(champion.changed)),
        decisions=decisions_on(read_ledger(settings.root), digest),
    )
    (folder / RECORD).write_text(evidence.model_dump_json(indent=1))
    (folder / PAGE).write_text(evidence_page(page))
    return Outcome(
        rows=sum(evidence.answers.asked.values()),
        details={
            "champion": evidence.champion,
            "overlap": evidence.answers.overlap,
            "queries_changed": evidence.answers.queries_changed,
            "churn_net": evidence.churn_net,
            "added": evidence.data.added,
            "removed": evidence.data.removed,
            "changed": evidence.data.changed,
            "retrained": evidence.retrained,
        },
    )


def _asked(settings: Settings, ds: date, candidate: Bundle, entry: Entry) -> Champion:
    """Both bundles' answers; the loss of the champion must not block its successor."""
    photos = drawn_photos(settings, ds)
    try:
        bundle = _verified(settings.root / "bundles" / entry.bundle)
        items = drawn_items(settings, items_of(candidate), items_of(bundle))
        answers = ask(settings, bundle, [*photos, *items])
    except (LookalikeError, OSError, RuntimeError) as error:  # the last is ScaNN's own
        log.warning("champion.unreadable", bundle=entry.bundle, error=str(error))
        return Champion(None, str(error))
    facts, changed = compare(answers, ask(settings, candidate, answers))
    return Champion(bundle, None, facts, changed)


def _verified(folder: Path) -> Bundle:
    if not folder.is_dir():
        raise Damaged(f"The files of bundle {folder.name} are not there any more.")
    return verify(folder, folder.name)


def _record(
    settings: Settings, ds: date, candidate: Bundle, entry: Entry | None, champion: Champion
) -> Evidence:
    manifest, former = candidate.manifest, champion.bundle.manifest if champion.bundle else {}
    verdict = manifest["verdict"]
    compared = entry is not None and gate_champion(settings, ds) == entry.bundle
    beside = rival(verdict) if compared else None
    return Evidence(
        ds=ds,
        bundle=candidate.digest,
        champion=entry.bundle if entry else None,
        champion_ds=entry.ds if entry else None,
        champion_version=entry.version if entry else None,
        champion_fault=champion.fault,
        data=data_facts(settings, ds, candidate, champion.bundle),
        retrained=manifest["embedder"] != former.get("embedder"),
        space_changed=manifest["space_id"] != former.get("space_id"),
        recall=recall_of(verdict),
        champion_recall=recall_of(former["verdict"]) if former else None,
        leaf_precision=beside["leaf_precision"] if beside else leaf_precision(verdict),
        champion_leaf_precision=beside["champion"] if beside else None,
        churn_net=verdict["churn"]["net"] if compared else None,
        answers=champion.facts,
        serving=serving_facts(settings, candidate.digest),
        champion_serving=serving_facts_left(settings, entry.bundle) if entry else None,
        steps=step_costs(settings, ds),
    )


def _photos(changed: Sequence[Changed]) -> list[str]:
    """Where all photos are that are shown."""
    rows = [shown.key for each in changed for row in each.rows for shown in row]
    return [*(each.query.image for each in changed), *rows]


if __name__ == "__main__":
    command(run)
