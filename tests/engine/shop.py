"""Names and numbers of the bundle's items, and bundles that differ from it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_bundle import AWKWARD_IDS, add_variant

from serving.bundle import verify
from serving.engine import Answer, Engine, Found

ITEMS, BASE = 60, 48


def variant(root: Path, digest: str, edit: Callable[[Path], object]) -> Engine:
    """The engine of a bundle that differs in a file."""
    changed = add_variant(root, digest, edit)
    return Engine(verify(root / "bundles" / changed, changed), threads=1)


def ids(answer: Answer) -> list[str]:
    return [hit["item_id"] for hit in answer.hits]


def name(number: int) -> str:
    return AWKWARD_IDS.get(number, f"item-{number:03}")


def near(found: Found) -> list[tuple[int, Any]]:
    """The same rows; the scores but for what a larger batch adds up in another order."""
    return [(row, pytest.approx(score, abs=1e-6)) for row, score in found]
