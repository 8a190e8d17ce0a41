"""Retrieval measures. Each compares what an index found with the exact neighbours."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]
Scores = npt.NDArray[np.float32]

TIE = 1e-4  # cosines this near to the k-th count as found: more than rounding, less than a place


def recall_by_query(
    found_scores: Scores, true_scores: Scores, k: int, *, tie: float = TIE
) -> npt.NDArray[np.float64]:
    """float64 [q]: share of each query's k places filled by something as near as the truth.

    `found_scores` [q, >= k] are full-space scores of what was found, -inf where nothing was;
    `true_scores` [q, >= k] the best there are, best first. Ties count, so duplicates do no harm.
    """
    k = min(k, true_scores.shape[1])
    if k == 0:
        return np.ones(len(true_scores))
    needed = true_scores[:, k - 1 : k] - tie
    return np.asarray((found_scores[:, :k] >= needed).sum(axis=1) / k)


def lower_bound(
    values: npt.NDArray[np.float64], rounds: int, *, seed: int = 0, confidence: float = 0.95
) -> float:
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
