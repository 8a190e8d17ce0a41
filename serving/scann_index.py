"""ScaNN, in the form that its own guide gives for each size.

Below 20,000 vectors: brute-force scoring. Below 100,000: asymmetric hashing with reordering.
Above: a tree of sqrt(n) leaves with SOAR spilling in front of it (google-research/scann,
docs/algorithms.md). ScaNN never gets our item ids: it would store them as a pickle.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from model.errors import BadInput
from serving.index import MISSING, Rows, Vectors, check_k, check_queries

MIN_VECTORS = 16  # hashing needs 16 points to train on; fewer go to the exact engine
BRUTE_FORCE_BELOW = 20_000
TREE_FROM = 100_000
REORDER_PER_RESULT = 10
REORDER_MIN = 100
TRAINING_SAMPLE = 250_000


def import_scann() -> ModuleType:
    """Import ScaNN with TensorFlow hidden.

    ScaNN 1.4.2 loads its TensorFlow op whenever TensorFlow can be imported, the op is built for
    2.20, and beside 2.21 the import dies with an undefined symbol. Only the op needs TensorFlow.
    """
    if "scann" in sys.modules:
        return sys.modules["scann"]
    visible = sys.modules.get("tensorflow")
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("scann")
    finally:
        del sys.modules["tensorflow"]
        if visible is not None:
            sys.modules["tensorflow"] = visible


class ScannIndex:
    """A ScaNN searcher and how it was made."""

    def __init__(self, searcher: Any, description: dict[str, Any]) -> None:
        self._searcher = searcher
        self._description = description

    @classmethod
    def build(cls, vectors: Vectors, *, leaves_to_search: int | None = None) -> "ScannIndex":
        """Index `vectors` [n, d] of unit length. Raises BadInput below MIN_VECTORS."""
        n, dimensions = vectors.shape
        if n < MIN_VECTORS:
            raise BadInput(
                f"Too few vectors for ScaNN. Expected at least {MIN_VECTORS}. Received: {n}. "
                f"Use the exact engine."
            )
        if not np.isfinite(vectors).all():
            raise BadInput("The vectors to index hold NaN or infinity. Expected finite numbers.")
        builder = import_scann().scann_ops_pybind.builder(vectors, REORDER_MIN, "dot_product")
        facts: dict[str, Any] = {"engine": "scann", "n": n, "dimensions": dimensions}
        if n < BRUTE_FORCE_BELOW:
            facts["form"] = "brute force"
            return cls(builder.score_brute_force().build(), facts)
        if n >= TREE_FROM:
            leaves = int(np.sqrt(n))
            facts |= {"leaves": leaves, "leaves_to_search": leaves_to_search or leaves // 20}
            builder = builder.tree(
                leaves,
                facts["leaves_to_search"],
                training_sample_size=min(n, TRAINING_SAMPLE),
                soar_lambda=1.5,
                overretrieve_factor=2.0,
            )
        facts["form"] = "tree, hashing, reordering" if n >= TREE_FROM else "hashing, reordering"
        builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2)
        return cls(builder.reorder(REORDER_MIN).build(), facts)

    @property
    def description(self) -> dict[str, object]:
        return dict(self._description)

    def __len__(self) -> int:
        return int(self._description["n"])

    def search(self, queries: Vectors, k: int) -> tuple[Rows, Vectors]:
        check_k(k)
        queries = check_queries(queries, int(self._description["dimensions"]))
        k = min(k, len(self))
        if not len(queries):
            return np.empty((0, k), np.int32), np.empty((0, k), np.float32)
        effort: dict[str, int] = {}
        if self._description["form"] != "brute force":
            effort["pre_reorder_num_neighbors"] = max(REORDER_MIN, REORDER_PER_RESULT * k)
        if "leaves_to_search" in self._description:
            effort["leaves_to_search"] = int(self._description["leaves_to_search"])
        found, scores = self._searcher.search_batched(queries, final_num_neighbors=k, **effort)
        rows = found.astype(np.int32)
        missing = np.isnan(scores)  # ScaNN pads a short answer with row 0 and NaN
        rows[missing] = MISSING
        scores[missing] = -np.inf
        return rows, scores

    def with_effort(self, leaves_to_search: int) -> "ScannIndex":
        """The same index, searching so many of its leaves."""
        return ScannIndex(
            self._searcher, {**self._description, "leaves_to_search": leaves_to_search}
        )

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Without relative paths the folder could not be moved.
        self._searcher.serialize(str(folder), relative_path=True)

    @classmethod
    def load(cls, folder: Path, description: dict[str, Any]) -> "ScannIndex":
        return cls(import_scann().scann_ops_pybind.load_searcher(str(folder)), description)
