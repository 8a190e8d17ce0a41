"""What a new listing is, by its photo: the category level by level, and a brand."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model.taxonomy import SEPARATOR, split
from serving.index import Vectors

SHARPNESS = 20.0  # a neighbour that is 0.05 less alike has a third of the vote


def levels(names: Sequence[str], odds: Vectors) -> list[dict[str, Any]]:
    """The likeliest path [{path, confidence}, ...], top level first.

    `odds` [names] of leaf paths. On each level the branch with the most of them is taken, so the
    top is the likeliest top, also where the likeliest leaf is of another.
    """
    found: list[dict[str, Any]] = []
    parts = [split(name) for name in names]
    inside = list(range(len(names)))
    while True:
        depth = len(found)
        branches: dict[str, float] = {}
        for number in inside:
            if len(parts[number]) > depth:
                branch = SEPARATOR.join(parts[number][: depth + 1])
                branches[branch] = branches.get(branch, 0.0) + float(odds[number])
        if not branches:
            return found
        best = max(branches, key=lambda branch: branches[branch])
        found.append({"path": best, "confidence": round(min(branches[best], 1.0), 4)})
        inside = [n for n in inside if SEPARATOR.join(parts[n][: depth + 1]) == best]


def brand(hits: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The brand that the nearest items have, {name, confidence}; None where none has one.

    The confidence is its share of the votes; an item without a brand votes for none.
    """
    votes: dict[str | None, float] = {}
    for hit in hits:
        vote = float(np.exp(SHARPNESS * (hit["score"] - 1)))
        votes[hit["brand"]] = votes.get(hit["brand"], 0.0) + vote
    named = {name: vote for name, vote in votes.items() if name is not None}
    if not named:
        return None
    best = max(named, key=lambda name: named[name])
    return {"name": best, "confidence": round(named[best] / sum(votes.values()), 4)}
