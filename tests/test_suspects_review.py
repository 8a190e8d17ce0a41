"""The file of doubtful categories, its sheet, and the verdicts that come back."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from model.errors import BadInput
from model.taxonomy import Taxonomy
from pipelines.settings import Settings
from pipelines.suspects import Labelled, Verdicts, log_suspects, read_verdicts, write_suspects
from pipelines.tracking import client, experiment_id

TAXONOMY = Taxonomy(("Home > Lamps", "Home > Vases", "Garden > Pots"))
WRONG = (7, 20)  # products sold under the next leaf


def shop(products: int = 45) -> Labelled:
    """Two views of each product; photos of a leaf point the same way and have one colour."""
    rng = np.random.default_rng(0)
    product = np.arange(products).repeat(2)
    true = product % 3
    embeddings = np.eye(3)[true] + 0.1 * rng.normal(size=(len(true), 3))
    given = np.where(np.isin(product, WRONG), (true + 1) % 3, true)
    view = np.arange(len(product)) % 2
    items = pa.table(
        {
            "item_id": [f"p{p}-{v}" for p, v in zip(product, view, strict=True)],
            "image": [f"photos/{p}-{v}.jpg" for p, v in zip(product, view, strict=True)],
            "category": [TAXONOMY.leaves[leaf] for leaf in given],
            "leaf": given.astype(np.int32),
            "group": product.astype(np.int64),
        }
    )
    pixels = np.full((len(true), 8, 8, 3), 255, np.uint8)
    pixels[..., 0] = (100 * true)[:, None, None]
    return Labelled(items, embeddings.astype(np.float32), pixels)


def nothing(photos: Labelled) -> Verdicts:
    return read_verdicts(None, photos.items)


def review(folder: Path, text: str) -> Path:
    path = folder / "reviewed.csv"
    path.write_text(text)
    return path


def said(path: Path, photos: Labelled) -> dict[str, str]:
    verdicts, ids = read_verdicts(path, photos.items), photos.items["item_id"].to_pylist()
    words = {"right": verdicts.right, "wrong": verdicts.wrong}
    return {ids[row]: word for word, mask in words.items() for row in np.flatnonzero(mask)}


def test_the_planted_categories_are_in_the_files(tmp_path: Path) -> None:
    photos = shop()
    facts = write_suspects(tmp_path, photos, TAXONOMY, nothing(photos))
    assert facts == {"suspects": 4, "labels_confirmed": 0, "labels_rejected": 0}
    table = pq.read_table(tmp_path / "suspects.parquet")
    assert table.schema.names == [
        "item_id",
        "image",
        "category",
        "likely_category",
        "score",
        "rank",
    ]
    rows = table.to_pylist()
    assert {row["item_id"]: row["likely_category"] for row in rows} == {
        "p7-0": "Home > Vases",
        "p7-1": "Home > Vases",
        "p20-0": "Garden > Pots",
        "p20-1": "Garden > Pots",
    }
    assert [row["rank"] for row in rows] == [1, 1, 2, 2]
    assert [row["image"] for row in rows] == [f"photos/{row['item_id'][1:]}.jpg" for row in rows]
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores)
    assert 0 <= scores[0] <= scores[-1] < 0.01
    assert csv.read_csv(tmp_path / "suspects.csv").to_pylist() == rows


def test_the_sheet_shows_each_product_beside_its_like(tmp_path: Path) -> None:
    photos = shop()
    write_suspects(tmp_path, photos, TAXONOMY, nothing(photos))
    with Image.open(tmp_path / "suspects.png") as sheet:
        red = np.asarray(sheet)[..., 0], np.asarray(sheet)[..., 1]
    drawn = {int(value) for value in red[0][red[1] == 255].ravel()}
    assert {100, 200} <= drawn  # the colours of vases and pots, and none of a lamp
    assert 0 not in drawn


def test_without_doubt_there_is_an_empty_file_and_no_sheet(tmp_path: Path) -> None:
    photos = shop(6)
    facts = write_suspects(tmp_path, photos, TAXONOMY, nothing(photos))
    assert facts["suspects"] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["suspects.csv", "suspects.parquet"]
    header = '"item_id","image","category","likely_category","score","rank"\n'
    assert (tmp_path / "suspects.csv").read_text() == header


def test_a_reviewed_copy_of_the_file_settles_its_rows(tmp_path: Path) -> None:
    photos = shop()
    write_suspects(tmp_path, photos, TAXONOMY, nothing(photos))
    lines = (tmp_path / "suspects.csv").read_text().splitlines()
    verdict = {'"p7-0"': "right", '"p20-1"': "Wrong "}
    text = "\n".join(
        [f'{lines[0]},"verdict"']
        + [f"{line},{verdict.get(line.split(',')[0], '')}" for line in lines[1:]]
    )
    path = review(tmp_path, text)
    assert said(path, photos) == {"p7-0": "right", "p20-1": "wrong"}
    facts = write_suspects(tmp_path, photos, TAXONOMY, read_verdicts(path, photos.items))
    assert facts == {"suspects": 0, "labels_confirmed": 1, "labels_rejected": 1}


def test_a_verdict_is_about_the_category_that_was_judged(tmp_path: Path) -> None:
    text = "item_id,category,verdict\np0-0,Garden > Pots,wrong\np1-0,Home > Vases,right\n"
    assert said(review(tmp_path, text), shop()) == {"p1-0": "right"}


def test_a_file_without_categories_is_about_the_present_ones(tmp_path: Path) -> None:
    text = "item_id,verdict\np0-0,wrong\np1-0,\ngone,right\n"
    assert said(review(tmp_path, text), shop()) == {"p0-0": "wrong"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "item_id,opinion\np0-0,right\n",
            "{path} lacks verdict. Expected the columns item_id and verdict. "
            "Received: item_id, opinion.",
        ),
        (
            "item_id,verdict\np0-0,right\np1-0,maybe\n",
            "Row 2 of {path} has an unknown verdict. Expected right, wrong or nothing. "
            "Received: 'maybe'.",
        ),
    ],
)
def test_a_review_that_cannot_be_read_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = review(tmp_path, text)
    with pytest.raises(BadInput) as caught:
        read_verdicts(path, shop().items)
    assert str(caught.value) == message.format(path=path)


def test_mlflow_has_the_file_and_the_sheet(tmp_path: Path) -> None:
    settings, photos = Settings(root=tmp_path / "root"), shop()
    settings.root.mkdir()
    run = client(settings).create_run(experiment_id(settings))
    write_suspects(tmp_path, photos, TAXONOMY, nothing(photos))
    log_suspects(settings, run.info.run_id, tmp_path)
    names = {artifact.path for artifact in client(settings).list_artifacts(run.info.run_id)}
    assert names == {"suspects.csv", "suspects.png"}
    assert client(settings).get_run(run.info.run_id).data.metrics == {"suspects": 4.0}
