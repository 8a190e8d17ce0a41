"""A rollout in the description: the candidate of one replica, and how it does."""

from serving.openapi_operation import answer, errors, get
from serving.openapi_schema import NULL, Schema, record, ref, typed
from serving.tally import OUTCOMES

SHARE = {"type": "number", "minimum": 0, "maximum": 1}


def rollout_paths() -> Schema:
    responses = {"200": answer("Rollout"), **errors(422)}
    summary = "The candidate beside the champion of this replica, and how both answered"
    return {"/v1/rollout": get("rollout", summary, [], responses)}


def rollout_bodies() -> Schema:
    decided = record(
        digest=typed("string"),
        version=typed("string"),
        action={"enum": ["promote", "rollback", "shadow", "canary"]},
        at={"type": "string", "format": "date-time"},
        share={**SHARE, "description": "Of the traffic that the candidate gets."},
    )
    refused = record(bundle=typed("string", "null"), error=typed("string"))
    counts = {outcome: typed("integer") for outcome in OUTCOMES}
    tally = record(**counts, p50_ms=typed("number", "null"), p99_ms=typed("number", "null"))
    figures = record(
        champion=ref("Tally"),
        candidate=ref("Tally"),
        compared=typed("integer"),
        overlap={
            **SHARE,
            "type": ["number", "null"],
            "description": "Mean share of the champion's answers that the candidate gives too.",
        },
        passed_by={"type": "integer", "description": "Questions that were not asked again."},
    )

    def maybe(schema: Schema) -> Schema:
        return {"oneOf": [schema, NULL]}

    return {
        "Tally": tally,
        "Rollout": record(
            champion=maybe(decided),
            pending=maybe(refused),
            candidate=maybe(decided),
            unfit=maybe(refused),
            figures=maybe(figures),
        ),
    }
