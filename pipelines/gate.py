"""Say yes or no to the day's index, and name the slice that failed.

    python -m pipelines.gate --ds 2026-11-20

Truth is the exact neighbours in the full embedding, before any reduction, for queries that are
not in the base index: a gate that asks with indexed vectors, or takes its truth after PCA, reads
up to 30 points too high. What the reducer, the embedder's precision and the engine lose are told
apart. Every precision of `embed.precisions` is asked, and the fastest that passes every bound is to
serve; without float32 passing there is none. Figures that no search can tell are taken beside it:
is every item there once, with its own photo's vector, and does the space still know what the
bundle that serves knows? The verdict and its page are written either way; a no ends with exit code
3. Cost: 3 s to start and 5 for MLflow, the second build of the index that churn is measured by, and
a matrix product of queries x items, which is kept for the next time.
"""

import json
from datetime import date
from pathlib import Path

from model.errors import Refused
from pipelines.champion_answers import champion_before
from pipelines.gate_bench import Bench
from pipelines.gate_page import gate_page
from pipelines.reduce import space_id
from pipelines.settings import Settings
from pipelines.step import Outcome, Partition, Report, command, run_step
from pipelines.verdict import choose, judge
from pipelines.worst_queries import worst_queries

VERDICT, PAGE = "verdict.json", "gate.html"


def run(settings: Settings, ds: date) -> Report:
    """Measure, write the verdict, and raise Refused when it is no."""
    now = champion_before(settings.root, ds)
    inputs = {
        "index": Partition(settings, "index", ds).done().digest,
        "ingest": Partition(settings, "ingest", ds).done().digest,  # the wild photos
        "space": space_id(settings, ds),
        "champion": now.bundle if now else "",
        "train": Partition(settings, "train", ds).done().digest,  # its embedder is asked again
        "embed": Partition(settings, "embed", ds).done().digest,
        "settings": settings.gate.model_dump_json(),
        "precisions": settings.embed.model_dump_json(),
    }
    report = run_step(
        settings, "gate", ds, inputs=inputs, body=lambda folder: _gate(settings, ds, folder)
    )
    if not report.details["passed"]:
        raise Refused(
            f"The gate refused the index of {ds}: {'; '.join(report.details['failures'])}. "
            f"Production is unchanged. Look at {Partition(settings, 'gate', ds).output / VERDICT}."
        )
    return report


def _gate(settings: Settings, ds: date, folder: Path) -> Outcome:
    bench = Bench.open(settings, ds)
    health = bench.health()
    asked = [bench.ask(form) for form in bench.forms]
    verdicts = [judge(health, each.answers, settings.gate) for each in asked]
    verdict, precisions = choose(verdicts, bench.absent)
    served = asked[verdicts.index(verdict)]
    record = {
        **verdict.to_json(),
        "precisions": precisions,
        "bytes_per_item": Partition(settings, "index", ds).done().details["bytes_per_item"],
        "space_id": space_id(settings, ds),
        "churn": bench.churn(served),
    }
    (folder / VERDICT).write_text(json.dumps(record, indent=1))
    page = gate_page(ds, record, worst_queries(bench, served), bench.photos)
    (folder / PAGE).write_text(page)
    from pipelines.gate_run import log_gate  # MLflow takes seconds to import

    log_gate(settings, ds, record, page)
    overall = record["slices"][0] if record["slices"] else {}
    return Outcome(
        rows=len(bench.queries),
        details={
            "passed": verdict.passed,
            "recall": overall.get("recall"),
            "lower_bound": overall.get("lower_bound"),
            "precision": record["precision"],
            "p99_ms": record["latency_ms"]["p99"],
            "coverage": record["coverage"],
            "failures": record["failures"],
        },
    )


if __name__ == "__main__":
    command(run)
