"""Start the real server on the day's bundle, and compare its answers with the bundle's own.

    python -m pipelines.bless --ds 2026-11-20

The gate asks an index; shoppers ask a server. So the second blessing loads the sealed bundle in a
server of its own, apart from the one that serves, and asks it over HTTP with golden queries: items
of the bundle, and photos of the catalogue that nothing was trained on, the wild ones first. Every
answer must be the one that the engine gives in this process, to the last digit that is shown. Then
all are asked again, several at a time. How long the bundle loads, what it needs in memory, and how
long shoppers would wait are taken beside it. A no ends with exit code 3 and nothing is registered.
Cost: 25 s with two cores, 15 to 20 of them the start of the server.
"""

import json
from datetime import date
from pathlib import Path

from model.errors import LookalikeError, Refused
from pipelines.blessing import blessing_path, keep_blessing
from pipelines.bundle import bundle_digest
from pipelines.golden import golden_items, golden_photos
from pipelines.rehearsal import Rehearsal, put_in_production, rehearse
from pipelines.settings import Settings
from pipelines.step import Outcome, Partition, Report, command, run_step, staging
from serving.bundle import verify
from serving.engine import Engine

BLESSING = "blessing.json"
SHOWN = ("passed", "failures", "load_seconds", "p99_ms", "memory_bytes")


def run(settings: Settings, ds: date) -> Report:
    """Measure, write the blessing, and raise Refused when it is none."""
    digest = bundle_digest(settings, ds)
    inputs = {"bundle": digest, "settings": settings.bless.model_dump_json()}
    report = run_step(
        settings,
        "bless",
        ds,
        inputs=inputs,
        body=lambda folder: _bless(settings, ds, digest, folder),
        intact=lambda _: blessing_path(settings, digest).exists(),
    )
    if not report.details["passed"]:
        raise Refused(
            f"The server's answers do not bless bundle {digest} of {ds}: "
            f"{'; '.join(report.details['failures'])}. Production is unchanged. Look at "
            f"{Partition(settings, 'bless', ds).output / BLESSING}."
        )
    return report


def _bless(settings: Settings, ds: date, digest: str, folder: Path) -> Outcome:
    engine = Engine(verify(settings.root / "bundles" / digest, digest))
    golden = {
        "items": golden_items(engine, settings.bless.items, settings.gate.k),
        "photos": golden_photos(settings, ds, engine, settings.bless.photos),
    }
    with staging(settings.root, f"rehearsal-{digest}") as root:
        put_in_production(settings, root, ds, digest)
        try:
            rehearsal = rehearse(settings, root, golden)
        except LookalikeError as error:  # a bundle that no server can load is none
            rehearsal = Rehearsal(faults=[str(error)])
    failures = rehearsal.failures(settings.bless)
    record = {"bundle": digest, "passed": not failures, "failures": failures}
    record |= rehearsal.to_json()
    (folder / BLESSING).write_text(json.dumps(record, indent=1))
    keep_blessing(settings, digest, record)
    return Outcome(
        rows=sum(map(len, golden.values())), details={name: record[name] for name in SHOWN}
    )


if __name__ == "__main__":
    command(run)
