"""What each part of the recipe buys: one option at a time on the same photos, then all of them.

    make bench NAME=quality

The sample shop at 64 pixels: the baselines, every layer of the plain classifier beside its
embedding, each option beside the plain classifier; then, where LOOKALIKE_DATA
has the grocery photos, the long recipe on their official test split. Published for these photos,
fine-tuned from ImageNet: leaf 86.0 %, parent 92.0 % (Klasson et al. 2019, arXiv 1901.00711).
Baselines stand in the same table. Cost: 80 minutes on four cores.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table as Rendered

from pipelines.evaluation import ATTRIBUTE
from pipelines.exam import BASELINES, CATEGORY, STREET_TO_SHOP
from pipelines.settings import Settings, Train
from pipelines.train import checkpoints
from pipelines.training import Training
from pipelines.training_run import BEFORE_METRIC, EMBEDDED
from tests.bench.figures import Row, quick, write
from tests.bench.shops import Shop, grocery, sample

Options = Mapping[str, Any]
Table = dict[str, dict[str, float]]  # figures by space or recipe

BASE: Options = {"parent_weight": 0.0}
OPTIONS: Mapping[str, Options] = {  # each on top of BASE
    "taxonomy levels": {"parent_weight": 0.5},
    "attribute heads": {"attributes": ("brand", "colour", "material", "pattern")},
    "mixed photos": {"mix": 0.3},
    "averaged weights": {"averaging": 0.99},
    "shallow branch": {"shallow": True},
    "taps": {"taps": ("stage2*0.3", "stage3*0.3", "embedding")},
    "metric stage": {"metric": {"epochs": 4}},
}
EVERYTHING, PLAIN, RECIPE = "all of them", "plain classifier", "long recipe"
LONG: Options = {  # the grocery photos: few, so many epochs
    "epochs": 80,
    "sizes": (0.5, 0.75, 0.75, 1.0),
    "mix": 0.5,
    "augmentation": {"zoom": (0.45, 1.15), "colour": 0.12},
}
LONG_SIDE = 128
GOALS = {"leaf top-1": 0.70, "level_2 top-1": 0.80}
SHOWN = {  # figure: protocol, level and measure in `evaluation.json`
    "mAP of the leaf": (CATEGORY, "leaf", "mAP"),
    "precision@10 of the leaf": (CATEGORY, "leaf", "precision@10"),
    "hit@20 of the product": (STREET_TO_SHOP, "product", "hit@20"),
    "hit@1 of the leaf": (STREET_TO_SHOP, "leaf", "hit@1"),
    "hit@20 of the leaf": (STREET_TO_SHOP, "leaf", "hit@20"),
    "lift of colour": (ATTRIBUTE, "colour", "lift"),
    "lift of pattern": (ATTRIBUTE, "pattern", "lift"),
}


@dataclass(frozen=True)
class Result:
    """Figures of one recipe, and of the other spaces of its exam, by space."""

    figures: dict[str, float]
    baselines: Table
    layers: Table


def main() -> None:
    ablation = _ablation(sample(700 if quick() else 4000, 32 if quick() else 64))
    rows, tables = _rows("sample", ablation, PLAIN), [side_by_side("sample", ablation)]
    if shop := grocery(32 if quick() else LONG_SIDE):
        found = train(shop, {"epochs": 1} if quick() else LONG)
        compared = {RECIPE: found.figures, **found.baselines}
        rows += [Row(f"grocery, {name}", "share", found.figures[name], goal=goal)
                 for name, goal in GOALS.items()]  # fmt: skip
        rows += _rows("grocery", compared, RECIPE)
        tables.append(side_by_side("grocery", compared))
    write("quality", {"sample": dict(BASE), "grocery": dict(LONG)}, rows, tables)


def _ablation(shop: Shop) -> Table:
    """Figures of the plain classifier first, of other spaces, and of each option on top of it."""
    short = {"epochs": 1} if quick() else {}
    base = train(shop, {**BASE, **short})
    found = {PLAIN: base.figures, **base.baselines}
    found |= {f"layer {layer}": figures for layer, figures in base.layers.items()}
    everything: dict[str, Any] = {}
    for option, given in OPTIONS.items():
        everything |= given
        if not quick():
            found[option] = train(shop, {**BASE, **short, **given}).figures
    found[EVERYTHING] = train(shop, {**BASE, **short, **everything}).figures
    return found


def _rows(shop: str, found: Table, recipe: str) -> list[Row]:
    """Everything beside `recipe`, or where it is a baseline, the recipe beside it."""
    ours = found[recipe]
    return [
        Row(f"{shop}, {figure}", "", ours[figure], space, value)
        if space in BASELINES
        else Row(f"{shop}, {space}: {figure}", "", value, recipe, ours[figure])
        for space, figures in found.items()
        if space != recipe
        for figure, value in figures.items()
    ]


def side_by_side(title: str, found: Table) -> Rendered:
    """A row a space or recipe, a column a figure."""
    shown = Rendered(title=title, title_justify="left")
    shown.add_column("")
    columns = list(dict.fromkeys(figure for figures in found.values() for figure in figures))
    for column in columns:
        shown.add_column(column, justify="right")
    for space, figures in found.items():
        cells = [f"{figures[column]:.3f}" if column in figures else "" for column in columns]
        shown.add_row(space, *cells)
    return shown


def train(shop: Shop, options: Options) -> Result:
    """One training with these options, unless an earlier run of the benchmark has done it.

    Killed, the benchmark goes on with its last epoch.
    """
    settings: Settings = shop.settings.model_copy(update={"train": Train.model_validate(options)})
    kept = checkpoints(settings, shop.ds)
    folder = kept / "output"
    folder.mkdir(parents=True, exist_ok=True)
    curves = folder / "history.json"  # the last thing that a training writes of its quality
    if not curves.is_file():
        Training(settings, shop.ds, shop.catalogue, kept).run(folder)
    test: dict[str, float] = json.loads(curves.read_bytes())["test"]
    accuracy = {f"{level} top-1": value for level, value in test.items()}
    figures = accuracy | _figures(folder, EMBEDDED)
    print(f"{dict(options)}: {figures}", flush=True)
    return Result(
        figures,
        baselines={name: _figures(folder, name) for name in BASELINES},
        layers={name: _figures(folder, name) for name in _layers(folder)},
    )


def _layers(folder: Path) -> list[str]:
    others = {EMBEDDED, BEFORE_METRIC, *BASELINES}
    spaces = (score["space"] for score in _scores(folder))
    return list(dict.fromkeys(space for space in spaces if space not in others))


def _scores(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "evaluation.json").read_bytes())["scores"])


def _figures(folder: Path, space: str) -> dict[str, float]:
    held = {
        (score["protocol"], score["level"], measure): interval[0]
        for score in _scores(folder)
        if (score["space"], score["slice"]) == (space, "all")
        for measure, interval in score["measures"].items()
    }
    return {name: held[place] for name, place in SHOWN.items() if place in held}


if __name__ == "__main__":
    main()
