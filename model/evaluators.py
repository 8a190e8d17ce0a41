"""Retrieval measures, each a value for every query, and how sure their mean is.

Two truths: what an index found is judged by the exact neighbours (`recall_by_query`), a space by
which answers are right (`Ranking`). A query without any right answer has no value: NaN, which
`summaries` leaves out and counts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model.errors import BadInput

Ids = npt.NDArray[np.int32]
Scores = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]

TIE = 1e-4  # cosines this near to the k-th count as found: more than rounding, less than a place
DRAWN_AT_ONCE = 4_000_000  # clusters, over the rounds of a bootstrap


def recall_by_query(
    found_scores: Scores, true_scores: Scores, k: int, *, tie: float = TIE
) -> Values:
    """float64 [q]: share of each query's k places filled by something as near as the truth.

    `found_scores` [q, >= k] are full-space scores of what was found, -inf where nothing was;
    `true_scores` [q, >= k] the best there are, best first. Ties count, so duplicates do no harm.
    """
    k = min(k, true_scores.shape[1])
    if k == 0:
        return np.ones(len(true_scores))
    needed = true_scores[:, k - 1 : k] - tie
    return np.asarray((found_scores[:, :k] >= needed).sum(axis=1) / k)


def lower_bound(values: Values, rounds: int, *, seed: int = 0, confidence: float = 0.95) -> float:
    """One-sided lower bound of the mean by the bootstrap (Efron 1979)."""
    if not len(values):
        return 0.0
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(rounds)]
    return float(np.quantile(means, 1 - confidence))


def hit_rates(
    found: Ids, wanted: Ids, ks: tuple[int, ...] = (1, 5, 10)
) -> Iterator[tuple[str, float]]:
    """`hit@k`: share of queries [q] whose wanted label is among the labels [q, K] of the first k.

    Queries whose label is nowhere in the index should be left out by the caller.
    """
    for k in ks:
        yield f"hit@{k}", float(np.mean((found[:, :k] == wanted[:, None]).any(axis=1)))


@dataclass(frozen=True)
class Ranking:
    """Answers, best first: which are right [q, r], and how many right ones there are [q].

    A ranking that ends before the gallery does knows nothing of what comes later. Raises BadInput
    where more right answers are ranked than there are.
    """

    right: Mask
    existing: Codes

    def __post_init__(self) -> None:
        ranked = self.right.sum(axis=1)
        if self.existing.shape != ranked.shape or (ranked > self.existing).any():
            raise BadInput(
                f"This is no ranking. Expected bool [q, r] and, for each query, at least as many "
                f"right answers as are ranked. Received: {self.right.shape}, "
                f"{self.existing.shape}."
            )

    @classmethod
    def whole(cls, right: Mask) -> "Ranking":
        """Of a gallery that is ranked to its end."""
        return cls(right, right.sum(axis=1, dtype=np.int64))

    def precision(self, k: int) -> Values:
        """Share of right answers among the first k, as Wehkamp judges its similar items.

        k is lowered to the number of right answers there are, so that the best ranking of a rare
        leaf is a 1 too. (Plain precision would give a leaf of three photos 0.3 at best.)
        """
        places = np.minimum(k, self.existing)
        inside = np.arange(self.right[:, :k].shape[1]) < places[:, None]
        return self._share((self.right[:, :k] & inside).sum(axis=1), places)

    def recall(self, k: int) -> Values:
        """Share of all right answers that are among the first k (Manning et al. 2008, 8.3).

        Where there are more than k of them it cannot be 1.
        """
        return self._share(self.right[:, :k].sum(axis=1), self.existing)

    def hit(self, k: int) -> Values:
        """1 if any of the first k is right: the Recall@k of Street2Shop and of metric learning."""
        return self._known(self.right[:, :k].any(axis=1))

    def average_precision(self) -> Values:
        """Mean, over all right answers, of the precision at their places (Manning et al. 8.4).

        One that is not ranked adds 0; a ranking of r places is not blamed for what it cannot hold:
        the mean is then over r (mAP@r).
        """
        query, place = np.nonzero(self.right)
        counts = self.right.sum(axis=1)
        before = np.cumsum(counts) - counts
        nth = np.arange(len(query)) - before[query] + 1
        total = np.bincount(query, nth / (place + 1), minlength=len(counts))
        return self._share(total, np.minimum(self.existing, self.right.shape[1]))

    def ndcg(self, k: int) -> Values:
        """Discounted gain of the first k over the best ranking's (Järvelin & Kekäläinen 2002).

        An answer is right or not; place i counts 1 / log2(i + 1). The best ranking has the right
        answers first, as many as there are and as fit in k.
        """
        discount = 1 / np.log2(np.arange(2, k + 2))
        best = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(self.existing, k)]
        first = self.right[:, :k]
        return self._share(first @ discount[: first.shape[1]], best)

    def reciprocal_rank(self) -> Values:
        """One over the place of the first right answer (Voorhees 1999), 0 if none is ranked."""
        if not self.right.shape[1]:
            return self._known(np.zeros(len(self.right)))
        return self._known(self.right.any(axis=1) / (self.right.argmax(axis=1) + 1))

    def _share(self, part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Values:
        """0 where there is no whole: a ranking without places."""
        return self._known(np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0))

    def _known(self, values: npt.ArrayLike) -> Values:
        return np.where(self.existing > 0, values, np.nan)


def category_measures(ranking: Ranking) -> Iterator[tuple[str, Values]]:
    """What a list of similar products is judged by: name, and float64 [q]."""
    yield "precision@10", ranking.precision(10)
    yield "recall@10", ranking.recall(10)
    yield "hit@1", ranking.hit(1)
    yield "hit@10", ranking.hit(10)
    yield "mAP", ranking.average_precision()
    yield "nDCG@10", ranking.ndcg(10)
    yield "MRR", ranking.reciprocal_rank()


def product_measures(ranking: Ranking) -> Iterator[tuple[str, Values]]:
    """What the search for one product is judged by: name, and float64 [q]."""
    for k in (1, 5, 10, 20):
        yield f"hit@{k}", ranking.hit(k)
    yield "mAP", ranking.average_precision()
    yield "nDCG@20", ranking.ndcg(20)
    yield "MRR", ranking.reciprocal_rank()


@dataclass(frozen=True)
class Interval:
    """A mean, and what holds it in 95 of 100 repetitions with other queries."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.2f} to {self.high:.2f})"

    def rounded(self, digits: int) -> list[float]:
        """[mean, low, high], as it is written to JSON."""
        return [round(each, digits) for each in (self.value, self.low, self.high)]


@dataclass(frozen=True)
class Summary:
    """The means over one slice's queries, but for those that have no right answer."""

    queries: int
    left_out: int
    measures: Mapping[str, Interval]


def summaries(
    values: Mapping[str, Values],
    slices: Mapping[str, Mask],
    clusters: Codes,
    rounds: int,
) -> Iterator[tuple[str, Summary]]:
    """Each slice's name and summary. Slices may overlap; one without any query is not told of.

    `values`: by measure float64 [q], NaN for the same queries; `slices`: bool [q]; `clusters`
    int64 [q]: queries that show the same thing and so are drawn together.
    """
    table = np.stack(list(values.values()), axis=1)
    known = ~np.isnan(table).any(axis=1)
    for name, mask in slices.items():
        rows = mask & known
        if not mask.any():
            continue
        found = intervals(table[rows], clusters[rows], rounds) if rows.any() else []
        yield (
            name,
            Summary(
                queries=int(rows.sum()),
                left_out=int((mask & ~known).sum()),
                measures=dict(zip(values, found, strict=bool(found))),
            ),
        )


def intervals(
    values: Values,
    clusters: Codes,
    rounds: int,
    *,
    against: Values | None = None,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[Interval]:
    """The mean of each column of [q, m] with its two-sided percentile interval (Efron 1979).

    Whole clusters are drawn: four photos of a product are not four witnesses (Field & Welsh 2007).
    With fewer than about twenty clusters the interval is too narrow. `against` [q, m]: the ratio
    of the two columns' means instead. Raises BadInput without queries.
    """
    if not len(values):
        raise BadInput("No mean without queries. Expected at least one. Received: none.")
    _, cluster = np.unique(clusters, return_inverse=True)
    sums, weights = (
        _by_cluster(column, cluster)
        for column in (values, np.ones_like(values) if against is None else against)
    )
    means = sums.sum(axis=0) / weights.sum(axis=0)
    drawn = np.concatenate(
        [(times @ sums) / (times @ weights) for times in _draws(len(sums), rounds, seed)]
    )
    tail = (1 - confidence) / 2
    lows, highs = np.quantile(drawn, (tail, 1 - tail), axis=0)
    return [
        Interval(float(mean), float(low), float(high))
        for mean, low, high in zip(means, lows, highs, strict=True)
    ]


def _by_cluster(values: Values, cluster: npt.NDArray[np.intp]) -> Values:
    sums = np.zeros((cluster.max() + 1, values.shape[1]))
    np.add.at(sums, cluster, values)
    return sums


def _draws(clusters: int, rounds: int, seed: int) -> Iterator[Values]:
    """float64 [some rounds, clusters]: how often each cluster is drawn, `rounds` rows in all."""
    rng = np.random.default_rng(seed)
    at_once = max(1, DRAWN_AT_ONCE // clusters)
    for start in range(0, rounds, at_once):
        size = min(at_once, rounds - start)
        chosen = rng.integers(0, clusters, (size, clusters))
        chosen += clusters * np.arange(size)[:, None]
        counts = np.bincount(chosen.ravel(), minlength=size * clusters)
        yield counts.reshape(size, clusters).astype(np.float64)
