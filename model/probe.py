"""Does colour, pattern or material survive in a space?

A network that is trained on categories alone may forget what they have in common. So neighbours
are only looked for *within the query's own leaf*, among other products, where the category is no
help: do more of them share the query's attribute than drawing them would give?
"""

from dataclasses import dataclass

import numpy as np

from model.evaluators import Codes, Interval, Summary, Values, intervals
from model.retrieval import Pair, Vectors, ranked

UNKNOWN = -1
NEIGHBOURS = 5
MIN_CHOICE = 2 * NEIGHBOURS  # others in the leaf; of fewer the neighbours would be nearly all


@dataclass(frozen=True)
class Probe:
    """One attribute of queries and gallery photos; `value` is UNKNOWN where the feed is silent.

    `group`: photos of one product and their near-duplicates, of which a query finds none.
    """

    value: Pair
    leaf: Pair
    group: Pair

    def measure(self, asked: Vectors, base: Vectors) -> tuple[Values, Values]:
        """Share of the neighbours that have the query's value, and of all they were drawn from.

        float64 [q] each. Both are NaN for a query that has no value, whose leaf offers fewer than
        MIN_CHOICE others of known value, or where these all share its value or none does: there is
        nothing to get right or wrong. Raises BadInput for vectors [q, d], [g, d] that are not of
        unit length.
        """
        share, chance = np.full((2, len(asked)), np.nan)
        for leaf in np.unique(self.leaf.asked):
            queries = np.flatnonzero((self.leaf.asked == leaf) & (self.value.asked != UNKNOWN))
            others = np.flatnonzero((self.leaf.base == leaf) & (self.value.base != UNKNOWN))
            value, group = self.value.take(queries, others), self.group.take(queries, others)
            for part, order, allowed in ranked(asked[queries], base[others], group.differ):
                same = np.take_along_axis(value.same(part), order, axis=1) & allowed
                choice = allowed.sum(axis=1)
                drawn = same.sum(axis=1) / np.maximum(choice, 1)
                tells = (choice >= MIN_CHOICE) & (drawn > 0) & (drawn < 1)
                share[queries[part][tells]] = same[tells, :NEIGHBOURS].sum(axis=1) / NEIGHBOURS
                chance[queries[part][tells]] = drawn[tells]
        return share, chance


def lift(share: Values, chance: Values, clusters: Codes, rounds: int) -> Summary:
    """How many times more often than by chance: the ratio of the means, with its interval.

    1: the space knows nothing of the attribute. Both float64 [q], NaN where a query tells nothing.
    """
    tells = ~np.isnan(chance)
    measures: dict[str, Interval] = {}
    if tells.any():
        pair = np.stack([share[tells], chance[tells]], axis=1)
        measures["share"], measures["chance"] = intervals(pair, clusters[tells], rounds)
        against = pair[:, 1:]
        (measures["lift"],) = intervals(pair[:, :1], clusters[tells], rounds, against=against)
    return Summary(int(tells.sum()), int((~tells).sum()), measures)
