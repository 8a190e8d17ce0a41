"""The engines there are, by the name in an index's description."""

from pathlib import Path

from model.errors import BadInput
from serving.exact import ExactIndex
from serving.index import Index
from serving.scann_index import ScannIndex


def load_index(folder: Path, description: dict[str, object]) -> Index:
    """Open an index that `save` wrote. Raises BadInput for an engine that we do not have."""
    engine = description.get("engine")
    if engine == "exact":
        return ExactIndex.load(folder)
    if engine == "scann":
        return ScannIndex.load(folder, description)
    raise BadInput(f"Unknown index engine. Expected `exact` or `scann`. Received: {engine!r}.")
