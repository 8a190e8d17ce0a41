"""Items whose category is likely wrong: a file for a person to review, and a sheet to look at.

Written at the end of a training from the embeddings of its photos. To review, add a column
`verdict` to a copy of `suspects.csv`, `right` or `wrong` where you know, and name the copy in
`train.reviewed`. A judged item does not come back, nor does another view of the same product, and
a wrong category is neither trained on nor learnt from here. A verdict is about the category that
was judged: when the seller corrects it, the item is judged afresh. Cost: 1 s, after 5 s of imports.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
from PIL import Image

from model.errors import BadInput
from model.pixels import Pixels
from model.reducer import Array, unit
from model.suspects import Suspects, find_suspects
from model.taxonomy import Taxonomy, split
from pipelines.content_store import View
from pipelines.neighbours import OTHER, SAME_LEAF, Row, Tile, draw_neighbours
from pipelines.settings import Settings
from pipelines.tables import read_table

TABLE, REVIEW, SHEET = "suspects.parquet", "suspects.csv", "suspects.png"
VERDICTS = ("right", "wrong")
SHOWN, NEIGHBOURS = 8, 6

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Verdicts:
    """What a person said of each item's category, bool [n] each; neither where nobody looked."""

    right: Mask
    wrong: Mask


@dataclass(frozen=True)
class Labelled:
    """The photos of a training: a row each of items, embeddings [n, D] and pixels."""

    items: pa.Table
    embeddings: Array
    pixels: View | Pixels


def read_verdicts(path: Path | None, items: pa.Table) -> Verdicts:
    """The verdicts on `items` in a reviewed table: `item_id`, `verdict`, `category` if it has one.

    Raises BadInput without these columns, or for another word than `right` or `wrong`.
    """
    said = dict(_reviewed(path)) if path else {}
    pairs = zip(items["item_id"].to_pylist(), items["category"].to_pylist(), strict=True)
    words = np.array([said.get(pair) or said.get((pair[0], "")) or "" for pair in pairs], "U5")
    return Verdicts(words == "right", words == "wrong")


def write_suspects(
    folder: Path, photos: Labelled, taxonomy: Taxonomy, verdicts: Verdicts
) -> dict[str, int]:
    """Write the table, as Parquet and as CSV, and the sheet; facts for the report."""
    items = photos.items
    suspects = find_suspects(
        photos.embeddings,
        items["leaf"].to_numpy().astype(np.int32),
        items["group"].to_numpy(),
        right=verdicts.right,
        wrong=verdicts.wrong,
    )
    table = _table(suspects, items, taxonomy)
    pq.write_table(table, folder / TABLE)
    csv.write_csv(table, folder / REVIEW)
    if len(suspects):
        draw_suspects(suspects, photos, taxonomy).save(folder / SHEET)
    return {
        "suspects": len(suspects),
        "labels_confirmed": int(verdicts.right.sum()),
        "labels_rejected": int(verdicts.wrong.sum()),
    }


def draw_suspects(suspects: Suspects, photos: Labelled, taxonomy: Taxonomy) -> Image.Image:
    """The worst listings, a row each, beside the nearest photos of other products."""
    names = [split(path)[-1] for path in taxonomy.leaves]
    leaf, group = photos.items["leaf"].to_numpy(), photos.items["group"].to_numpy()
    vectors = unit(photos.embeddings)
    _, first = np.unique(suspects.rank, return_index=True)
    rows = []
    for place in first[:SHOWN]:
        row, likely = int(suspects.rows[place]), int(suspects.likely[place])
        cosine = np.where(group == group[row], -np.inf, vectors @ vectors[row])
        near = np.argsort(-cosine, kind="stable")[:NEIGHBOURS]
        near = near[np.isfinite(cosine[near])]
        shown = [Image.fromarray(each) for each in photos.pixels[np.array([row, *near])]]
        query = Tile(shown[0], f"given: {names[leaf[row]]}", f"likely: {names[likely]}", OTHER)
        hits = [
            Tile(
                photo,
                names[leaf[hit]],
                f"{cosine[hit]:.3f}",
                SAME_LEAF if leaf[hit] == leaf[row] else OTHER,
            )
            for photo, hit in zip(shown[1:], near, strict=True)
        ]
        rows.append(Row(query, hits))
    return draw_neighbours(
        rows,
        "Categories to look at",
        "Left: a photo and the category it was given. Right: what looks most like it.",
    )


def log_suspects(settings: Settings, run_id: str, folder: Path) -> None:
    """The files of `write_suspects` into an MLflow run."""
    from pipelines.tracking import client  # MLflow takes seconds to import

    tracker = client(settings)
    for name in (REVIEW, SHEET):
        if (folder / name).is_file():
            tracker.log_artifact(run_id, str(folder / name))
    tracker.log_metric(run_id, "suspects", pq.read_metadata(folder / TABLE).num_rows)


def _table(suspects: Suspects, items: pa.Table, taxonomy: Taxonomy) -> pa.Table:
    found = items.select(["item_id", "image", "category"]).take(pa.array(suspects.rows))
    likely = [taxonomy.leaves[leaf] for leaf in suspects.likely]
    score = [float(f"{odds:.3g}") for odds in suspects.score]
    return (
        found.append_column("likely_category", pa.array(likely, pa.string()))
        .append_column("score", pa.array(score, pa.float64()))
        .append_column("rank", pa.array(suspects.rank))
    )


def _reviewed(path: Path) -> Iterator[tuple[tuple[str, str], str]]:
    """Item and category of each row, and the verdict; the category is empty where none stands."""
    table = read_table(path)
    missing = {"item_id", "verdict"} - set(table.columns)
    if missing:
        raise BadInput(
            f"{path} lacks {', '.join(sorted(missing))}. Expected the columns item_id and "
            f"verdict. Received: {', '.join(table.columns)}."
        )
    for place, row in table.iterrows():
        verdict = _text(row, "verdict").lower()
        if verdict not in ("", *VERDICTS):
            raise BadInput(
                f"Row {place} of {path} has an unknown verdict. Expected right, wrong or nothing. "
                f"Received: {row['verdict']!r}."
            )
        if verdict:
            yield (_text(row, "item_id"), _text(row, "category")), verdict


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value.strip() if isinstance(value, str) else ""
