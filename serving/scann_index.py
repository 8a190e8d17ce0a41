"""ScaNN: a tree of partitions, four-bit codes, and a second look at the best of them.

A form is a text such as `tree=632,soar=1.5,avq=2.5,ah=2,bfloat16`:

    tree       partitions of the vectors; without it every code is scored
    upper      partitions of the tree's own centres, for a million vectors and more
    soar       each vector is in a second partition too, chosen for what the first one misses
               (Sun et al. 2023, arXiv 2404.00774)
    avq        how much longer centres get, so that products with them come out right (0: not)
    ah         dimensions a code of four bits, learnt anisotropically (Guo et al. 2020)
    float32, bfloat16 or int8    as what the vectors are kept for the second look

`brute,float32` scores every vector. ScaNN never gets our item ids: it would store them as a pickle.
"""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from model.errors import BadInput, LookalikeError
from serving.index import MISSING, Effort, Rows, Vectors, check_search, check_vectors

Storage = Literal["float32", "bfloat16", "int8"]
Numbers = npt.NDArray[np.int64]

MIN_VECTORS = 16  # hashing needs 16 points to train on; fewer go to the exact engine
BRUTE_FORCE_BELOW = 20_000  # the bounds of ScaNN's own guide (docs/algorithms.md)
TREE_FROM = 100_000
ANISOTROPY = 0.2  # of the guide; errors along the vector count more than across it
OVERRETRIEVE = 1.5  # partitions' answers before duplicates go, where a vector is in two
UPPER_SHARE = 0.3  # of the upper partitions that are searched
TRAINING_SAMPLE = 250_000
UPSERTED_AT_ONCE = 256
TUNED_K = 10  # results that `reorder` is meant for; more of them need more


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


@dataclass(frozen=True)
class ScannForm:
    """The parts of a ScaNN index; see the module's text."""

    tree: int = 0
    upper: int = 0
    soar: float = 0.0
    avq: float = 0.0
    ah: int = 0
    storage: Storage = "float32"

    def __post_init__(self) -> None:
        if not self.ah and self.tree:
            raise BadInput(f"A tree needs codes: add `ah=2`. {_received(str(self))}")
        if (self.upper or self.soar or self.avq) and not self.tree:
            what = "`upper`, `soar` and `avq` are of a tree: add it."
            raise BadInput(f"{what} {_received(str(self))}")

    def __str__(self) -> str:
        numbers = ("tree", "upper", "soar", "avq", "ah")
        parts = [f"{name}={getattr(self, name):g}" for name in numbers if getattr(self, name)]
        return ",".join([*(parts or ["brute"]), self.storage])

    @classmethod
    def parse(cls, text: str) -> "ScannForm":
        """Raises BadInput for what is no form."""
        values: dict[str, Any] = {}
        for part in text.split(","):
            name, equals, value = part.strip().partition("=")
            kind = {"tree": int, "upper": int, "ah": int, "soar": float, "avq": float}.get(name)
            if name in get_args(Storage) and not equals:
                values["storage"] = name
            elif kind is None and part.strip() != "brute":
                raise BadInput(_received(text))
            elif kind is not None:
                try:
                    values[name] = kind(value)
                except ValueError:
                    raise BadInput(_received(text)) from None
                if not values[name] > 0:
                    raise BadInput(_received(text))
        return cls(**values)

    @classmethod
    def of_size(cls, n: int) -> "ScannForm":
        """What ScaNN's own guide gives for so many vectors."""
        if n < BRUTE_FORCE_BELOW:
            return cls()
        return cls(ah=2, tree=int(np.sqrt(n)) if n >= TREE_FROM else 0)


class ScannIndex:
    """A ScaNN searcher and how it was made."""

    def __init__(self, searcher: Any, description: Mapping[str, object]) -> None:
        self._searcher = searcher
        self._description = dict(description)
        self._effort = cast(Effort, description["effort"])

    @classmethod
    def build(cls, vectors: Vectors, form: ScannForm | None = None) -> "ScannIndex":
        """Index `vectors` [n, d] of unit length, by default as ScaNN's guide has it.

        Raises BadInput below MIN_VECTORS, for NaN, and for more partitions than vectors.
        """
        check_vectors(vectors)
        n, dimensions = vectors.shape
        if n < MIN_VECTORS:
            raise BadInput(
                f"Too few vectors for ScaNN. Expected at least {MIN_VECTORS}. Received: {n}. "
                f"Use the exact engine."
            )
        form = form or ScannForm.of_size(n)
        if form.tree * 2 > n or form.upper * 2 > form.tree:
            raise BadInput(
                f"Too many partitions for {n} vectors. Expected two in each at least. "
                f"Received: `{form}`."
            )
        effort: dict[str, int] = {}
        if form.tree:
            effort["leaves_to_search"] = max(1, form.tree // 20)
        if form.ah:
            effort["reorder"] = min(100, n)
        facts = {
            "engine": "scann",
            "form": str(form),
            "n": n,
            "dimensions": dimensions,
            "effort": effort,
        }
        return cls(_builder(vectors, form).build(), facts)

    @property
    def description(self) -> dict[str, object]:
        return dict(self._description)

    def __len__(self) -> int:
        return cast(int, self._description["n"])

    def search(self, queries: Vectors, k: int) -> tuple[Rows, Vectors]:
        dimensions = cast(int, self._description["dimensions"])
        queries, k = check_search(queries, k, (len(self), dimensions))
        rows = np.full((len(queries), k), MISSING, np.int32)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        if not len(queries):
            return rows, scores
        effort = {"final_num_neighbors": k}
        if "reorder" in self._effort:
            looks = self._effort["reorder"] * max(TUNED_K, k) // TUNED_K
            effort["pre_reorder_num_neighbors"] = max(looks, k)
        if "leaves_to_search" in self._effort:
            effort["leaves_to_search"] = self._effort["leaves_to_search"]
        if len(queries) == 1:  # a quarter faster than a batch of one
            found, near = self._searcher.search(queries[0], **effort)
            found, near = found[None], near[None]
        else:
            found, near = self._searcher.search_batched(queries, **effort)
        real = ~np.isnan(near)  # ScaNN pads a short answer with row 0 and NaN
        width = found.shape[1]
        rows[:, :width][real] = found[real]
        scores[:, :width][real] = near[real]
        return rows, scores

    def with_effort(self, effort: Effort) -> "ScannIndex":
        return ScannIndex(self._searcher, {**self._description, "effort": dict(effort)})

    def moved(self, places: Numbers, vectors: Vectors) -> "ScannIndex":
        """The same index, changed in place: other vectors [m, d] at these places [m]."""
        self._check_folding()
        return self._upserted(places.tolist(), places.tolist(), vectors)

    def added(self, vectors: Vectors) -> "ScannIndex":
        """The same index, changed in place: these vectors [m, d] after all others."""
        self._check_folding()
        places = list(range(len(self), len(self) + len(vectors)))
        return self._upserted([None] * len(vectors), places, vectors)

    def dropped(self, places: Numbers) -> "ScannIndex":
        """The same index, changed in place: each place in turn is left to the last vector."""
        self._check_folding()
        if len(places):
            self._searcher.searcher.delete(places.tolist())
        return self._of_size(len(self) - len(places))

    @property
    def unevenness(self) -> float:
        """How much partitions differ in size, weighted by size; 0 without partitions."""
        self._searcher.initialize_health_stats()
        stats = self._searcher.get_health_stats()
        return float(stats["partition_weighted_avg_relative_imbalance"])

    def _check_folding(self) -> None:
        """An index of two partitions a vector breaks the memory of the process when changed."""
        if ScannForm.parse(str(self._description["form"])).soar:
            raise BadInput(
                f"Cannot change single vectors of this index. Expected a form without `soar`. "
                f"Received: `{self._description['form']}`. Build it anew."
            )

    def _upserted(
        self, asked: list[int] | list[None], expected: list[int], vectors: Vectors
    ) -> "ScannIndex":
        check_vectors(vectors)
        if expected:
            vectors = np.ascontiguousarray(vectors, np.float32)
            # Past ScaNN's own wrapper, which takes no changes without names that it would pickle.
            found = self._searcher.searcher.upsert(asked, vectors, UPSERTED_AT_ONCE)
            if list(found) != expected:
                raise LookalikeError(
                    "ScaNN put vectors at other places than expected. This copy of the index is "
                    "of no use any more."
                )
        return self._of_size(max(len(self), *(place + 1 for place in expected), 0))

    def _of_size(self, n: int) -> "ScannIndex":
        if self._searcher.size() != n:
            raise LookalikeError(
                f"ScaNN lost count. Expected {n} vectors. It has {self._searcher.size()}. This "
                f"copy of the index is of no use any more."
            )
        return ScannIndex(self._searcher, {**self._description, "n": n})

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Without relative paths the folder could not be moved.
        self._searcher.serialize(str(folder), relative_path=True)

    @classmethod
    def load(cls, folder: Path, description: Mapping[str, object]) -> "ScannIndex":
        return cls(import_scann().scann_ops_pybind.load_searcher(str(folder)), description)


def _builder(vectors: Vectors, form: ScannForm) -> Any:
    scann = import_scann()
    kinds = importlib.import_module("scann.scann_ops.py.scann_builder").ReorderType
    storage = kinds[form.storage.upper()]
    builder = scann.scann_ops_pybind.builder(vectors, 10, "dot_product")
    if not form.ah:
        return builder.score_brute_force(storage)
    if form.tree:
        builder = builder.tree(
            form.tree,
            max(1, form.tree // 20),
            training_sample_size=min(len(vectors), TRAINING_SAMPLE),
            quantize_centroids=True,
            avq=form.avq or None,
            soar_lambda=form.soar or None,
            overretrieve_factor=OVERRETRIEVE if form.soar else None,
        )
    if form.upper:
        builder = builder.upper_tree(form.upper, max(1, round(UPPER_SHARE * form.upper)))
    builder = builder.score_ah(form.ah, anisotropic_quantization_threshold=ANISOTROPY)
    return builder.reorder(100, storage)


def _received(text: str) -> str:
    return (
        f"Not a form of ScaNN's index. Expected such as `brute,float32`, `ah=2,int8` or "
        f"`tree=600,soar=1.5,avq=2.5,ah=2,bfloat16`. Received: `{text}`."
    )
