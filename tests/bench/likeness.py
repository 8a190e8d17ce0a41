"""Is what `mixture` draws like what an embedder makes of photos? At equal n, side by side.

    make demo && make bench NAME=likeness          # the embedder of the demo
    make bench NAME=likeness FIT=1                 # fit again, and write mixture.npz

The real ones: 16,000 photos of the sample shop, most of which the demo's network has not been
trained on. Compared are the spectrum, the cosines to near and far neighbours, the local dimension
(maximum likelihood, Levina & Bickel 2004), how uneven it is who is a neighbour (hubness), and what
an index of plain lists finds for a given effort. Beside the table a plot, `likeness.png`. Cost: ten
minutes at first, most of them to draw the photos; then half a minute; the fit five minutes.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.reducer import second_moment
from pipelines.embed import embedder_path
from pipelines.settings import Settings
from serving.embedder import Embedder
from tests.bench.figures import BUILD, Row, quick, write
from tests.bench.mixture import FITTED, Law, Mixture
from tests.bench.shops import DAY, sample

ITEMS, SIDE = 16_000, 64
FEWEST = 10  # photos of a leaf that says something
NEAR = (1, 2, 5, 10, 20, 30, 50, 100, 200)
SHOWN = (1, 10, 100)
QUANTILES = (5, 25, 50, 75, 95)
LOCAL = (10, 20, 100)  # neighbours that the local dimension is measured with
ASKED = 800  # photos whose neighbours are looked at while fitting
QUERIES, LISTS, PROBES = 1000, 128, (1, 2, 4, 8, 16, 32)
TRIALS, STEPS = 120, (0.04, 0.03, 0.06, 0.2, 0.5, 0.06, 0.2, 0.5)
START = (0.70, 0.12, 0.20, 0.45, 0.30, 0.26, 0.60, 0.00)
FIT_LEAVES, FIT_ITEMS = 600, 60_000  # to see a moment without the noise of few leaves

Array = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Real:
    """Embeddings [n, d], and the leaf and product of each."""

    vectors: Array
    leaf: npt.NDArray[np.int64]
    product: npt.NDArray[np.int64]

    @property
    def leaves(self) -> int:
        return int(self.leaf.max()) + 1


def main() -> None:
    real = embedded(2000 if quick() else ITEMS)
    if os.environ.get("FIT"):
        fit(real).save(FITTED)
    drawn = Mixture(Law.load(), real.leaves, seed=1, size=len(real.vectors)).block(0)
    theirs, ours = Portrait.of(real.vectors), Portrait.of(drawn)
    plot(theirs, ours, BUILD / "likeness.png")
    write("likeness", {"vectors": len(drawn), "leaves": real.leaves}, rows(theirs, ours))


def embedded(items: int) -> Real:
    """The sample's photos, as the demo's embedder sees them; kept for the next time."""
    kept = BUILD / f"likeness-{items}.npz"
    if not kept.is_file():
        shop = sample(items, SIDE)
        catalogue = shop.catalogue
        keys = catalogue.items["pixel_key"].to_pylist()
        pixels = catalogue.pixels.view(catalogue.shards, keys)
        embedder = Embedder(embedder_path(Settings(), DAY, "float32"))
        vectors = [embedder.embed(pixels[i : i + 256])[0] for i in range(0, len(keys), 256)]
        names = {name: catalogue.items[name].to_pylist() for name in ("category", "product_id")}
        leaf, product = (np.unique(names[name], return_inverse=True)[1] for name in names)
        np.savez(kept, x=np.concatenate(vectors), leaf=leaf, product=product)
    with np.load(kept, allow_pickle=False) as arrays:
        known = np.bincount(arrays["leaf"])[arrays["leaf"]] >= FEWEST
        leaf, product = (
            np.unique(arrays[name][known], return_inverse=True)[1] for name in ("leaf", "product")
        )
        return Real(np.ascontiguousarray(arrays["x"][known]), leaf, product)


@dataclass(frozen=True)
class Portrait:
    """What is compared."""

    spectrum: Numbers  # [d], shares, largest first
    cosines: Array  # [n, 200] to the neighbours, nearest first
    occurrence: npt.NDArray[np.int64]  # [n], among how many lists of ten neighbours
    curve: list[float]  # recall@10 for each of PROBES

    @classmethod
    def of(cls, vectors: Array) -> "Portrait":
        spectrum = np.linalg.eigvalsh(second_moment([vectors]))[::-1]
        cosines, rows = neighbours(vectors, np.arange(len(vectors)))
        occurrence = np.bincount(rows[:, :10].ravel(), minlength=len(vectors))
        return cls(spectrum, cosines, occurrence, curve(vectors))

    @property
    def skew(self) -> float:
        away = self.occurrence - self.occurrence.mean()
        return float((away**3).mean() / self.occurrence.std() ** 3)


def neighbours(vectors: Array, asked: npt.NDArray[np.int64]) -> tuple[Array, npt.NDArray[np.int64]]:
    """Cosines [q, 200] to the nearest others, and which they are."""
    count, found = max(NEAR), []
    for start in range(0, len(asked), 1000):
        part = asked[start : start + 1000]
        cosines = vectors[part] @ vectors.T
        cosines[np.arange(len(part)), part] = -2
        rows = np.argpartition(-cosines, count, axis=1)[:, :count]
        near = np.take_along_axis(cosines, rows, axis=1)
        order = np.argsort(-near, axis=1)
        found.append((np.take_along_axis(near, order, 1), np.take_along_axis(rows, order, 1)))
    return np.concatenate([near for near, _ in found]), np.concatenate([rows for _, rows in found])


def local_dimension(cosines: Array, k: int) -> float:
    """Median over the photos, from the distances to k neighbours."""
    distance = np.sqrt(np.maximum(2 - 2 * cosines[:, :k], 1e-9))
    return float(np.median((k - 1) / np.log(distance[:, -1:] / distance[:, :-1]).sum(axis=1)))


def curve(vectors: Array) -> list[float]:
    """recall@10 of plain lists by how many of them are searched; queries are not indexed."""
    import faiss

    order = np.random.default_rng(0).permutation(len(vectors))
    queries, base = vectors[order[:QUERIES]], np.ascontiguousarray(vectors[order[QUERIES:]])
    truth = np.argsort(-(queries @ base.T), axis=1)[:, :10]
    lists = faiss.index_factory(vectors.shape[1], f"IVF{LISTS},Flat", faiss.METRIC_INNER_PRODUCT)
    lists.train(base)
    lists.add(base)
    reached = []
    for lists.nprobe in PROBES:
        found = lists.search(queries, 10)[1]
        hits = [np.isin(true, mine).sum() for true, mine in zip(truth, found, strict=True)]
        reached.append(float(np.sum(hits) / truth.size))
    return reached


def rows(theirs: Portrait, ours: Portrait) -> list[Row]:
    """Drawn beside real."""

    def row(figure: str, measure: Callable[[Portrait], float]) -> Row:
        return Row(figure, "", measure(ours), "real", measure(theirs))

    return [
        *(
            row(f"share of direction {number}", lambda p, n=number: float(p.spectrum[n - 1]))  # type: ignore[misc]
            for number in (1, 4, 16, 64, 96)
        ),
        *(
            row(
                f"cosine to neighbour {near}, {quantile} %",
                lambda p, n=near, q=quantile: float(np.percentile(p.cosines[:, n - 1], q)),  # type: ignore[misc]
            )
            for near in SHOWN
            for quantile in (5, 50, 95)
        ),
        *(
            row(f"local dimension, {k} neighbours", lambda p, k=k: local_dimension(p.cosines, k))  # type: ignore[misc]
            for k in LOCAL
        ),
        row("hubness: skew of who is a neighbour", lambda p: p.skew),
        row("nobody's neighbour", lambda p: float((p.occurrence == 0).mean())),
        *(
            row(f"recall@10, {probes} of {LISTS} lists", lambda p, i=place: p.curve[i])  # type: ignore[misc]
            for place, probes in enumerate(PROBES)
        ),
    ]


def plot(theirs: Portrait, ours: Portrait, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.6), layout="constrained")
    spectrum, near, hubs, effort = figure.subplots(1, 4)
    for portrait, name, colour in ((theirs, "real", "#444444"), (ours, "drawn", "#d1495b")):
        spectrum.semilogy(portrait.spectrum, color=colour, label=name)
        for place in SHOWN:
            cosines = np.sort(portrait.cosines[:, place - 1])
            near.plot(cosines, np.linspace(0, 1, len(cosines)), color=colour)
        counts = np.bincount(portrait.occurrence.clip(max=40)) / len(portrait.occurrence)
        hubs.semilogy(np.maximum(counts, 1e-6), color=colour)
        effort.semilogx(PROBES, portrait.curve, "o-", base=2, color=colour)
    spectrum.set(title="spectrum", xlabel="direction", ylabel="share")
    near.set(title=f"cosine to neighbour {SHOWN}", xlabel="cosine", ylabel="share of photos below")
    hubs.set(title="hubness", xlabel="lists of ten that a photo is in", ylabel="share of photos")
    effort.set(title="recall@10 of plain lists", xlabel=f"of {LISTS} lists searched")
    spectrum.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def fit(real: Real) -> Law:
    """The law whose vectors have the spectrum and the neighbours of the real ones."""
    from scipy.optimize import minimize

    law, target = _moments(real), _summary(real.vectors)
    strengths, directions = np.linalg.eigh(second_moment([real.vectors]))
    scalars = np.array(START)
    for trials in (TRIALS, TRIALS // 3):
        law = _with_spectrum(_with(law, scalars), strengths, directions)

        def miss(guess: Numbers, law: Law = law) -> float:
            shops = [
                Mixture(_with(law, guess), real.leaves, seed, len(real.vectors)) for seed in (0, 3)
            ]
            return sum(float(((_summary(s.block(0)) - target) ** 2).mean()) for s in shops)

        corners = np.vstack([scalars, scalars + np.diag(STEPS)])
        found = minimize(
            miss,
            scalars,
            method="Nelder-Mead",
            options={"maxfev": trials, "initial_simplex": corners},
        )
        scalars = found.x
        print(f"missed by {found.fun:.5f} with {scalars.round(3).tolist()}", flush=True)
    return _with_spectrum(_with(law, scalars), strengths, directions)


def _moments(real: Real) -> Law:
    """What can be read off: centres, scatter within leaves, sizes of leaves and products."""
    counts = np.bincount(real.leaf)
    means = np.zeros((real.leaves, real.vectors.shape[1]))
    np.add.at(means, real.leaf, real.vectors)
    means /= counts[:, None]
    centres = means.T @ (means * counts[:, None])
    views = np.bincount(np.bincount(real.product))[1:]
    return Law(
        centres / np.trace(centres),
        second_moment([real.vectors - means[real.leaf].astype(np.float32)]),
        views,
        float(np.log(counts).std()),
        norm=(START[0], START[1]),
        product=(START[2], START[3], START[4]),
        view=(START[5], START[6], START[7]),
    )


def _with(law: Law, scalars: Numbers) -> Law:
    mean, deviation, *spreads = scalars.tolist()
    product, view = (
        (abs(scatter), abs(uneven), decay) for scatter, uneven, decay in (spreads[:3], spreads[3:])
    )
    return replace(law, norm=(mean, abs(deviation)), product=product, view=view)


def _with_spectrum(law: Law, strengths: Numbers, directions: Numbers) -> Law:
    """Stretch both moments until the drawn vectors have this spectrum in these directions."""
    for _ in range(4):
        drawn = np.zeros(len(strengths))
        for seed in (20, 21):
            vectors = Mixture(law, FIT_LEAVES, seed, FIT_ITEMS).block(0)
            drawn += ((vectors @ directions) ** 2).mean(axis=0) / 2
        stretch = (directions * np.sqrt(strengths / drawn)) @ directions.T
        law = replace(
            law,
            centres=stretch @ law.centres @ stretch,
            within=stretch @ law.within @ stretch,
        )
    return law


def _summary(vectors: Array) -> Numbers:
    """Quantiles of the neighbours' cosines, and the local dimensions on a like scale."""
    asked = np.random.default_rng(1).choice(len(vectors), min(len(vectors), ASKED), replace=False)
    cosines, _ = neighbours(vectors, asked)
    quantiles = np.percentile(cosines[:, np.array(NEAR) - 1], QUANTILES, axis=0).ravel()
    local = [0.3 * np.log(local_dimension(cosines, k)) for k in LOCAL]
    return np.concatenate([quantiles, local])


if __name__ == "__main__":
    main()
