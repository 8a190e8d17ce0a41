"""Searching a gallery for what is right, exactly, and ranking the whole of it.

Two protocols. *Same category*: photos that nothing was trained on look for items of their own
category, at every level of the taxonomy. *Street to shop* (Hadi Kiapour et al. 2015, as VisNet
2017 repeats it): a photo from the wild looks for the very product among all items. A query never
finds itself: the caller keeps it out of the gallery, and `own` bars what shows the same thing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.errors import BadInput
from model.evaluators import Codes, Mask, Ranking, Values, category_measures, product_measures
from model.taxonomy import Taxonomy

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]
Evaluator = Callable[[Ranking], Iterator[tuple[str, Values]]]
Found = dict[str, dict[str, Values]]  # by level, by measure: float64 [q]

BLOCK_BYTES = 16_000_000  # of scores at a time
MAX_LENGTH_ERROR = 1e-3


@dataclass(frozen=True)
class Pair:
    """The same property of queries and of gallery photos, as codes int64 [q] and [g]."""

    asked: Codes
    base: Codes

    @classmethod
    def of(cls, codes: Codes) -> "Pair":
        """Each photo both asks and is searched."""
        return cls(codes, codes)

    def same(self, part: slice) -> Mask:
        """bool [part of q, g]."""
        return np.asarray(self.asked[part, None] == self.base[None])

    def differ(self, part: slice) -> Mask:
        return ~self.same(part)

    def take(self, asked: Rows, base: Rows) -> "Pair":
        return Pair(self.asked[asked], self.base[base])


@dataclass(frozen=True)
class Task:
    """What is right at each level, what no query may find, and what the ranking is judged by."""

    levels: Mapping[str, Pair]
    evaluator: Evaluator
    own: Pair | None = None

    def measure(self, asked: Vectors, base: Vectors) -> Found:
        """Values of queries [q, d] in a gallery [g, d] of unit vectors. Raises BadInput."""
        parts: dict[str, dict[str, list[Values]]] = defaultdict(lambda: defaultdict(list))
        allow = None if self.own is None else self.own.differ
        for part, order, allowed in ranked(asked, base, allow):
            for level, pair in self.levels.items():
                right = np.take_along_axis(pair.same(part), order, axis=1) & allowed
                for name, values in self.evaluator(Ranking.whole(right)):
                    parts[level][name].append(values)
        return {
            level: {name: np.concatenate(values) for name, values in measures.items()}
            for level, measures in parts.items()
        }


def same_category(taxonomy: Taxonomy, leaf: Pair, group: Pair) -> Task:
    """Items of the query's node are right, at `level_1` (the top) .. and `leaf`.

    `group`: photos of one product and their near-duplicates, of which a query finds none.
    """
    levels = {}
    for level in range(1, taxonomy.depth):
        node = taxonomy.node_of_leaf(level).astype(np.int64)
        levels[f"level_{level}"] = Pair(node[leaf.asked], node[leaf.base])
    return Task({**levels, "leaf": leaf}, category_measures, group)


def street_to_shop(product: Pair, leaf: Pair) -> Task:
    """The query's product is right; its leaf, where no product is on both sides.

    So a shop counts that has one studio photo of each kind of fruit and no product ids in the
    wild. Recall@20 of the papers is `hit@20`: among how many queries is any of the first 20 right.
    """
    known = np.isin(product.asked, product.base).any()
    return Task({"product": product} if known else {"leaf": leaf}, product_measures)


def ranked(
    asked: Vectors, base: Vectors, allowed: Callable[[slice], Mask] | None = None
) -> Iterator[tuple[slice, Rows, Mask]]:
    """By blocks of queries: which ones, the gallery's rows best first, and if each was allowed.

    Exact, by cosine. What is not `allowed` comes last. Photos that score
    alike stand in no order that means anything, so shuffle the gallery before. Raises BadInput
    unless both are float32 [., d] of unit vectors; zeros are allowed, and are like nothing.
    """
    check_vectors(asked, base)
    block = max(1, BLOCK_BYTES // (4 * max(len(base), 1)))
    for start in range(0, len(asked), block):
        part = slice(start, min(start + block, len(asked)))
        scores = asked[part] @ base.T
        may = allowed(part) if allowed else np.ones(scores.shape, bool)
        order = np.argsort(np.where(may, -scores, np.inf), axis=1)
        yield part, order, np.take_along_axis(may, order, axis=1)


def check_vectors(*sides: Vectors) -> None:
    """Raise BadInput unless all are of one width, finite, and of length one or zero."""
    if len({side.shape[1:] for side in sides}) > 1 or sides[0].ndim != 2:
        raise BadInput(
            f"These vectors are not of one space. Expected [n, d] with one d. Received: "
            f"{', '.join(str(side.shape) for side in sides)}."
        )
    for side in sides:
        length = np.linalg.norm(side, axis=1)
        wrong = ~((np.abs(length - 1) < MAX_LENGTH_ERROR) | (length == 0))
        if wrong.any():
            raise BadInput(
                f"{int(wrong.sum())} of {len(side)} vectors cannot be compared by cosine. Expected "
                f"a length of 1, or 0 for a photo that says nothing. Received: a length of "
                f"{length[wrong][0]}. Norm them, and look for NaN in the network."
            )
