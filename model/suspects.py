"""Which labels are likely wrong: confident learning (Northcutt et al. 2021, arXiv 1911.00068).

Sellers choose categories, so what is judged is a listing: the views of one product under one
leaf, which were labelled together and share their evidence. Its odds come from a linear
discriminant of the other products' embeddings, so no view of a product vouches for another.
With 5 % of labels wrong at random, of as many suspects as there were wrong labels 92 % were so
(sample shop) and 90 % (photos of groceries), of the first half of them all; with wrong labels
from the same department, 86 and 83 %. The network's own odds know the labels that it was trained
on: mixed in, they made the ranking worse.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.discriminant import LeafOdds, Scatter
from model.errors import BadInput
from model.reducer import unit

Array = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

FOLDS = 5
MAX_ODDS = 50_000_000  # numbers at a time, 200 MB


@dataclass(frozen=True)
class Suspects:
    """Photos whose leaf is doubted, the worst first; those of one listing stand together."""

    rows: Rows  # [m], places in what was given
    likely: Ids  # [m], the leaf that the evidence is for
    score: Array  # [m], the odds of the leaf that was given
    rank: Rows  # [m], of the listing, from 1 for the worst

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Listings:
    """Views of one product under one leaf, as one: mean embeddings [m, D] and codes [m]."""

    embeddings: Array
    leaf: Rows  # position among the leaves that occur
    fold: Rows  # whole groups share one
    of_photo: Rows  # [n], the listing of each photo

    @classmethod
    def of(cls, embeddings: Array, leaf: Rows, group: Rows) -> "Listings":
        (groups, leaves), of_photo = np.unique(np.stack([group, leaf]), axis=1, return_inverse=True)
        of_photo = of_photo.ravel()
        sums = np.zeros((len(leaves), embeddings.shape[1]), np.float32)
        np.add.at(sums, of_photo, embeddings)
        means = sums / np.bincount(of_photo)[:, None]
        return cls(means.astype(np.float32), leaves, _folds(groups, leaves), of_photo)


def find_suspects(
    embeddings: Array,
    leaf: Ids,
    group: Rows,
    *,
    right: Mask | None = None,
    wrong: Mask | None = None,
) -> Suspects:
    """Rank doubtful leaves of photos: embeddings [n, D], not of length one, leaf ids, groups [n].

    A group holds the views of a product. `right` and `wrong` bool [n]: photos that a person has
    judged. Neither kind comes back, nor another view of the same listing; wrong labels are not
    learnt from. A leaf of one product is not judged, as nothing else speaks for it. Raises
    BadInput when the lengths differ.
    """
    n = len(embeddings)
    right, wrong = (np.zeros(n, bool) if mask is None else mask for mask in (right, wrong))
    if not len(leaf) == len(group) == len(right) == len(wrong) == n:
        raise BadInput(
            f"Cannot rank labels. Expected a leaf, a group and a verdict for each of {n} "
            f"embeddings. Received: {len(leaf)}, {len(group)}, {len(right)} and {len(wrong)}."
        )
    leaves, position = np.unique(leaf, return_inverse=True)
    if len(leaves) < 2:
        nothing = np.empty(0, np.int64)
        return Suspects(nothing, nothing.astype(np.int32), nothing.astype(np.float32), nothing)
    embeddings = unit(embeddings)
    listings = Listings.of(embeddings, position, group)
    settled = np.bincount(listings.of_photo, right | wrong) > 0
    doubted, likely, score = _doubt(listings, _classifiers(embeddings, position, listings, ~wrong))
    keep = ~settled[doubted]
    doubted, likely, score = doubted[keep], likely[keep], score[keep]
    place = np.full(len(listings.leaf), len(doubted))
    place[doubted] = np.arange(len(doubted))
    order = np.argsort(place[listings.of_photo], kind="stable")
    rows = order[: int((place[listings.of_photo] < len(doubted)).sum())]
    rank = place[listings.of_photo[rows]]
    return Suspects(rows, leaves[likely][rank].astype(np.int32), score[rank], rank + 1)


def _classifiers(embeddings: Array, leaf: Rows, listings: Listings, learnt: Mask) -> list[LeafOdds]:
    """For each fold the discriminant of all the others."""
    fold, leaves = listings.fold[listings.of_photo], int(leaf.max()) + 1
    parts = []
    for number in range(FOLDS):
        mine = (fold == number) & learnt
        parts.append(Scatter.of(embeddings[mine], leaf[mine].astype(np.int32), leaves))
    total = sum(parts[1:], start=parts[0])
    return [LeafOdds.fit(total - part) for part in parts]


def _doubt(listings: Listings, classifiers: list[LeafOdds]) -> tuple[Rows, Rows, Array]:
    """Doubted listings, worst first, the leaf that each is likely of, and the odds of its own."""
    known = np.stack([np.isfinite(classifier.offsets) for classifier in classifiers])
    judged = np.flatnonzero(known[listings.fold, listings.leaf])
    judged = np.random.default_rng(0).permutation(judged)
    blocks = -(-len(judged) * known.shape[1] // MAX_ODDS)
    found = []
    for rows in np.array_split(judged, max(blocks, 1)):
        odds = np.empty((len(rows), known.shape[1]), np.float32)
        for number, classifier in enumerate(classifiers):
            mine = listings.fold[rows] == number
            odds[mine] = classifier(listings.embeddings[rows[mine]])
        doubted = _confident_learning(listings.leaf[rows], odds)
        own = odds[doubted, listings.leaf[rows[doubted]]]
        found.append((rows[doubted], odds[doubted].argmax(axis=1), own))
    doubted, likely, score = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.lexsort((doubted, score))
    return doubted[order], likely[order], score[order]


def _confident_learning(leaf: Rows, odds: Array) -> Rows:
    """Rows that the confident joint takes for wrong: of each leaf, as many as it estimates."""
    from cleanlab.filter import find_label_issues  # it takes seconds to import

    present, position = np.unique(leaf, return_inverse=True)
    if len(present) < 2:
        return np.empty(0, np.int64)
    share = odds[:, present] + 1e-12
    doubted = find_label_issues(
        position,
        share / share.sum(axis=1, keepdims=True),
        filter_by="prune_by_class",
        n_jobs=1,
    )
    return np.flatnonzero(doubted)


def _folds(groups: Rows, leaves: Rows) -> Rows:
    """A fold for each listing: whole groups, and those of one leaf dealt out in turn."""
    _, first, of_listing = np.unique(groups, return_index=True, return_inverse=True)
    order = np.argsort(leaves[first], kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return np.asarray(place[of_listing] % FOLDS)
