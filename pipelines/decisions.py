"""What the ledger's decisions come to, for a bundle and for the shop."""

from collections.abc import Sequence
from itertools import takewhile

from serving.ledger import ACTIONS, Action, Entry

REVIEWS: tuple[Action, ...] = ("approve", "reject")


def served(entries: Sequence[Entry]) -> list[Entry]:
    """The stack of bundles that served and were not rolled back, the champion last."""
    stack: list[Entry] = []
    for entry in entries:
        if not entry.serves:
            continue
        # Forward again, to a bundle that was itself rolled back, puts it on top.
        if entry.action == "rollback" and any(entry.bundle == each.bundle for each in stack):
            while stack[-1].bundle != entry.bundle:
                stack.pop()
        if not stack or stack[-1].bundle != entry.bundle:
            stack.append(entry)
    return stack


def fallback(entries: Sequence[Entry]) -> Entry | None:
    """What a rollback serves; None where nothing served before the champion."""
    stack = served(entries)
    return stack[-2] if len(stack) > 1 else None


def latest_about(
    entries: Sequence[Entry], digest: str, actions: Sequence[Action] = ACTIONS
) -> Entry | None:
    """The last decision about a bundle, of these actions."""
    about = (e for e in reversed(entries) if e.bundle == digest and e.action in actions)
    return next(about, None)


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
