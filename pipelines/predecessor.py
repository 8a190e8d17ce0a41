"""The bundle that a candidate would replace, by the ledger."""

from collections.abc import Sequence
from itertools import takewhile

from serving.ledger import Entry


def predecessor(entries: Sequence[Entry], digest: str) -> Entry | None:
    """What served last before this bundle did, or serves while it never has.

    So the answer is the same before its promotion and after.
    """
    serving = [entry for entry in entries if entry.serves]
    before = [*takewhile(lambda entry: entry.bundle != digest, serving)]
    return before[-1] if before else None


def decisions_on(entries: Sequence[Entry], digest: str) -> list[Entry]:
    """What was decided of this bundle, oldest first; also that it was rolled back."""
    return [
        entry
        for entry in entries
        if entry.bundle == digest or (entry.action == "rollback" and entry.former == digest)
    ]
