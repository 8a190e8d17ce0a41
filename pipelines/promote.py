"""Promote the day's bundle by policy: the gate passed, so it serves.

    python -m pipelines.promote --ds 2026-11-20

The bundle is verified, loaded and asked before the ledger names it. A newer champion stays. With
`registry.auto_promote = false` it waits in Staging for `lookalike promote`. Cost: 9 s.
"""

import json
from datetime import date
from pathlib import Path

from model.errors import Refused
from pipelines.settings import Settings
from pipelines.step import Outcome, Partition, Report, command, run_step

POLICY = "policy: the gate passed"


def run(settings: Settings, ds: date) -> Report:
    """Decide once for each bundle; a later rollback is not undone by running this again."""
    registered = Partition(settings, "register", ds).done().details
    inputs = {
        "bundle": str(registered["bundle"]),
        "version": str(registered["version"]),
        "auto_promote": str(settings.registry.auto_promote),
    }
    return run_step(
        settings, "promote", ds, inputs=inputs, body=lambda to: _promote(settings, ds, inputs, to)
    )


def _promote(settings: Settings, ds: date, inputs: dict[str, str], folder: Path) -> Outcome:
    details: dict[str, object] = {"bundle": inputs["bundle"], "version": inputs["version"]}
    if not settings.registry.auto_promote:
        details |= {"promoted": False, "why": "waits for `lookalike promote`"}
    else:
        from pipelines.release import promote_bundle  # MLflow takes seconds to import

        try:
            entry = promote_bundle(settings, ds, inputs["bundle"], who="daily_retrain", why=POLICY)
            details |= {"promoted": True, "former": entry.former}
        except Refused as error:
            details |= {"promoted": False, "why": str(error)}
    (folder / "decision.json").write_text(json.dumps(details, indent=1))
    return Outcome(rows=1, details=details)


if __name__ == "__main__":
    command(run)
