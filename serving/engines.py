"""The engines there are, each by a text: `exact`, `scann:FORM`, `faiss:FACTORY`, `two-stage`."""

from pathlib import Path
from typing import Any

from model.errors import BadInput
from serving.exact import ExactIndex
from serving.faiss_index import FaissIndex
from serving.index import Index, Vectors
from serving.scann_index import ScannForm, ScannIndex


def build_index(vectors: Vectors, engine: str) -> Index:
    """Index vectors float32 [n, d] of unit length. Raises BadInput for an engine we do not have."""
    name, colon, form = engine.partition(":")
    if engine == "exact":
        return ExactIndex(vectors)
    if name == "scann" and (form or not colon):
        return ScannIndex.build(vectors, ScannForm.parse(form) if form else None)
    if name == "faiss" and form:
        return FaissIndex.build(vectors, form)
    if name == "two-stage" and (form or not colon):
        from serving.two_stage import Plan, TwoStageIndex  # Faiss is imported with it

        return TwoStageIndex.of(vectors, Plan.parse(form) if form else None)
    raise _unknown(engine)


def load_index(folder: Path, description: dict[str, Any]) -> Index:
    """Open what `save` wrote. Raises BadInput for an engine that we do not have."""
    engine = description.get("engine")
    if engine == "exact":
        return ExactIndex.load(folder)
    if engine in ("scann", "faiss", "two-stage") and "effort" not in description:
        raise BadInput(
            "This index was written by an earlier version. Expected `effort` in its description. "
            "Received none. Run `python -m pipelines.index --ds DAY` again."
        )
    if engine == "scann":
        return ScannIndex.load(folder, description)
    if engine == "faiss":
        return FaissIndex.load(folder, description)
    if engine == "two-stage":
        from serving.two_stage import TwoStageIndex

        return TwoStageIndex.load(folder, description)
    raise _unknown(str(engine))


def rebuilt(index: Index, vectors: Vectors) -> Index:
    """Another index of the same engine and effort."""
    description: dict[str, Any] = index.description
    return build_index(vectors, engine_of(description)).with_effort(description["effort"])


def engine_of(description: dict[str, Any]) -> str:
    """The text that `build_index` makes the same index of."""
    engine, form = str(description["engine"]), str(description["form"])
    return engine if engine == "exact" else f"{engine}:{form}"


def _unknown(engine: str) -> BadInput:
    return BadInput(
        f"Unknown index engine. Expected `exact`, `scann:FORM`, `faiss:FACTORY` or `two-stage`. "
        f"Received: `{engine}`."
    )
