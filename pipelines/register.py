"""Register the day's bundle in MLflow, in Staging as `challenger`.

    python -m pipelines.register --ds 2026-11-20

A bundle has one version however often this runs. The evidence for it lies in the version's run, as
`evidence.html` and `evidence.json`. Cost: 7 s, plus a copy of the bundle to the
artefact store.
"""

import json
from datetime import date
from pathlib import Path

from pipelines.blessing import read_blessing
from pipelines.bundle import bundle_digest
from pipelines.evidence_record import read_evidence
from pipelines.settings import Settings
from pipelines.step import Outcome, Partition, Report, command, run_step
from serving.bundle import verify


def run(settings: Settings, ds: date) -> Report:
    """Create the version, or find the one that the bundle has."""
    digest = bundle_digest(settings, ds)
    blessing = read_blessing(settings, digest)
    evidence = read_evidence(settings, ds, digest)
    inputs = {
        "bundle": digest,
        "blessing": Partition(settings, "bless", ds).done().digest,
        "evidence": Partition(settings, "evidence", ds).done().digest,
        "model": settings.registry.model,
        "tracking_uri": settings.tracking_uri,
    }

    def body(folder: Path) -> Outcome:
        from pipelines.registry import register_bundle  # MLflow takes seconds to import

        bundle = verify(settings.root / "bundles" / digest, digest)
        version = register_bundle(settings, ds, bundle, blessing, evidence)
        (folder / "version.json").write_text(json.dumps({"version": version, "bundle": digest}))
        return Outcome(rows=1, details={"version": version, "bundle": digest, "stage": "Staging"})

    return run_step(settings, "register", ds, inputs=inputs, body=body)


if __name__ == "__main__":
    command(run)
