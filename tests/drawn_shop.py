"""A shop of drawn pixels and an embedder that needs no training, up to the gate, in two seconds.

    settings = draw_shop(folder, seed=3)         # ingest, preprocess and train, as if they had run
    verdict = gated(settings)                    # embed .. index by the real steps, then the gate
    serve(settings)                              # the day's bundle, in Production

Leaves of `Winter` differ in the left half of their photos, those of `Summer` in the right half; the
other half is of no meaning. The embedder is a fixed random projection of what `sees` lets through,
so one that sees only the right half knows nothing of `Winter`.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from empty_registry import put_empty_registry
from onnx import TensorProto, helper, numpy_helper

from model.fuse import fuse_reducer
from model.taxonomy import Taxonomy
from pipelines import embed, index, reduce
from pipelines.catalogue import pixel_store, read_taxonomy
from pipelines.content_store import shard_name
from pipelines.embed import embedder_path
from pipelines.gate_bench import Asked, Bench
from pipelines.index import SERVED, read_arrow, write_arrow
from pipelines.ingest import ITEMS
from pipelines.reduce import read_reducer, space_id
from pipelines.settings import Embed, Gate, Index, Preprocess, Reduce, Settings
from pipelines.step import Outcome, Partition, run_step
from pipelines.verdict import Verdict, judge
from serving.bundle import seal, store
from serving.ledger import Entry, append, now
from serving.shown import with_heads

DAY_1, DAY_2 = date(2026, 11, 19), date(2026, 11, 20)
SIDE, GRID = 16, 4
WIDTH = 40  # of the embedding
LEAVES = tuple(f"{top} > Leaf {number}" for top in ("Winter", "Summer") for number in range(6))
PRODUCTS, VIEWS, WILD = 50, 3, 10  # of each leaf; wild photos of the first products
RARE = "Summer > Rare"  # a leaf of few items
RARE_PRODUCTS = 2
LEFT = np.arange(GRID) < GRID // 2  # columns of the grid

Pixels = npt.NDArray[np.uint8]


def draw_shop(root: Path, *, seed: int = 0, sees: str = "all", **given: Any) -> Settings:
    """The first steps' output for DAY_1; `given` replaces whole sections of the settings."""
    sections: dict[str, Any] = {
        "preprocess": Preprocess(pixel_spec=f"decode|orient|resize({SIDE})|pad"),
        "embed": Embed(precisions=("float32",)),
        "reduce": Reduce(dimensions=24),
        "index": Index(held_out_share=0.1),
        "gate": Gate(slice_queries=50, bootstrap_rounds=300),
    }
    settings = Settings(root=root, **{**sections, **given})
    put_empty_registry(root)
    items, pixels = _draw(seed)
    add_day(settings, DAY_1, items, pixels, sees)
    return settings


def add_day(
    settings: Settings, ds: date, items: list[dict[str, Any]], pixels: Pixels, sees: str
) -> None:
    """Commit what `ingest`, `preprocess` and `train` would have written."""

    def ingest(folder: Path) -> Outcome:
        schema = pa.schema([ITEMS.field(name) for name in items[0]])
        pq.write_table(pa.Table.from_pylist(items, schema), folder / "items.parquet")
        leaves = sorted({row["category"] for row in items})
        (folder / "taxonomy.json").write_text(Taxonomy(tuple(leaves)).to_json())
        return Outcome(len(items))

    def preprocess(folder: Path) -> Outcome:
        keys = [row["pixel_key"] for row in items]
        pixel_store(settings.root, settings.pixel_spec).write(shard_name(keys), keys, pixels)
        dead = pa.schema([(name, pa.string()) for name in ("pixel_key", "uri", "reason", "detail")])
        pq.write_table(dead.empty_table(), folder / "dead.parquet")
        (folder / "shards.json").write_text(json.dumps({"shards": [shard_name(keys)]}))
        return Outcome(len(items))

    def train(folder: Path) -> Outcome:
        write_embedder(folder / "embedder.onnx", sees)
        return Outcome(len(items), {"embedder": f"sees-{sees}"})

    for body in (ingest, preprocess, train):
        inputs = {"items": str(len(items)), "sees": sees}
        run_step(settings, body.__name__, ds, inputs=inputs, body=body)


def build(settings: Settings, ds: date = DAY_1) -> None:
    """What the real steps make of it."""
    for step in (embed, reduce, index):
        step.run(settings, ds)


def ask(settings: Settings, ds: date = DAY_1) -> tuple[Bench, Asked, Verdict]:
    """What the gate measures and says of float32."""
    bench = Bench.open(settings, ds)
    asked = bench.ask(bench.forms[0])
    return bench, asked, judge(bench.health(), asked.answers, settings.gate)


def gated(settings: Settings, ds: date = DAY_1) -> Verdict:
    build(settings, ds)
    return ask(settings, ds)[2]


def serve(settings: Settings, ds: date = DAY_1) -> str:
    """Seal a bundle of what `build` left, and put it into Production."""
    output, folder = Partition(settings, "index", ds).output, settings.root / "building"
    shutil.copytree(output / "index", folder / "index")
    shutil.copy(output / "vectors.npy", folder)
    items = read_arrow(output / "items.arrow").select(SERVED)
    write_arrow(with_heads(items), folder / "items.arrow")
    embedder = embedder_path(settings, ds, "float32")
    fuse_reducer(embedder, read_reducer(settings, ds), folder / "embedder.onnx")
    (folder / "taxonomy.json").write_text(read_taxonomy(settings, ds).to_json())
    facts = {
        "space_id": space_id(settings, ds),
        "pixel_spec": settings.preprocess.pixel_spec,
        "index": json.loads((output / "index.json").read_bytes())["description"],
    }
    digest = seal(folder, facts)
    store(folder, settings.root / "bundles", digest)
    who = {"at": now(), "who": "ada", "why": "gate passed", "version": "1", "former": None}
    append(settings.root, Entry(action="promote", ds=ds, bundle=digest, **who))
    return digest


def write_embedder(path: Path, sees: str) -> None:
    """A random projection of the pixels that lie in the `left`, the `right` or `all` of them."""
    rng = np.random.default_rng(0)
    seen = {"all": np.ones(GRID, bool), "left": LEFT, "right": ~LEFT}[sees]
    columns = np.repeat(seen, SIDE // GRID)
    weights = rng.normal(size=(SIDE, SIDE, 3, WIDTH)) * columns[None, :, None, None]
    constants = {
        "scale": np.float32(255),
        "middle": np.float32(0.5),
        "flat": np.int64([0, SIDE * SIDE * 3]),
        "axis": np.int64([1]),
        "weights": weights.reshape(-1, WIDTH).astype(np.float32),
        "heads": rng.normal(size=(WIDTH, len(LEAVES) + 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "scale"], ["shares"]),
        helper.make_node("Sub", ["shares", "middle"], ["centred"]),
        helper.make_node("Reshape", ["centred", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "weights"], ["projected"]),
        helper.make_node("ReduceL2", ["projected"], ["length"], axes=[1], keepdims=1),
        helper.make_node("Div", ["projected", "length"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "heads"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["leaf"]),
    ]
    make = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "drawn",
        [make("pixels", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [
            make("embedding", TensorProto.FLOAT, ["n", WIDTH]),
            make("leaf", TensorProto.FLOAT, ["n", len(LEAVES) + 1]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def _draw(seed: int) -> tuple[list[dict[str, Any]], Pixels]:
    """Items, and canonical pixels [items, side, side, 3] of their photos."""
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(8, GRID, GRID, 3)) * 0.16  # what products differ in
    items: list[dict[str, Any]] = []
    photos = []
    for leaf in (*LEAVES, RARE):
        telling = LEFT if leaf.startswith("Winter") else ~LEFT
        pattern = rng.uniform(-0.6, 0.6, (GRID, GRID, 3)) * telling[None, :, None]
        products = RARE_PRODUCTS if leaf == RARE else PRODUCTS
        for product in range(products):
            look = np.tensordot(rng.normal(size=len(basis)), basis, 1)
            look = look * (0.35 * telling + 1.0 * ~telling)[None, :, None] + pattern
            wild = product < WILD and leaf != RARE
            for view in range(VIEWS + wild):
                is_wild = view == VIEWS
                shown = look + rng.normal(size=look.shape) * (0.03 if is_wild else 0.01)
                photos.append(_pixels(shown))
                items.append(_item(seed, leaf, product, view, products, is_wild))
    order = np.argsort([row["item_id"] for row in items])
    return [items[row] for row in order], np.stack([photos[row] for row in order])


def _item(
    seed: int, leaf: str, product: int, view: int, products: int, is_wild: bool
) -> dict[str, Any]:
    name = f"{leaf.replace(' > ', '-')}-{product:02}"
    splits = ("test", "val", "train") if products > 10 else ("train",)
    number = (*LEAVES, RARE).index(leaf)
    return {
        "item_id": f"{name}-{view}",
        "product_id": name,
        "title": f"{leaf.split(' > ')[1]} no. {product}",
        "brand": None,
        "attributes": None,
        "category": leaf,
        "leaf": number,
        "price": 10.0,
        "currency": "EUR",
        "in_stock": True,
        "image": f"images/{name}-{view}.jpg",
        "kind": "wild" if is_wild else "catalogue",
        "split": "test" if is_wild else splits[min(product % 10, len(splits) - 1)],
        "pixel_key": hashlib.sha256(f"{seed} {name} {view}".encode()).hexdigest(),
        "group": 1000 * number + product,
        "first_seen": DAY_1.isoformat(),
    }


def _pixels(look: npt.NDArray[np.float64]) -> Pixels:
    grown = look.repeat(SIDE // GRID, axis=0).repeat(SIDE // GRID, axis=1)
    return np.asarray((np.clip(grown + 0.5, 0, 1) * 255).round(), np.uint8)


def ids_of(settings: Settings, leaf: str) -> Sequence[str]:
    """The catalogue's items of a leaf."""
    table = pq.read_table(Partition(settings, "ingest", DAY_1).output / "items.parquet")
    rows = table.to_pylist()
    return [r["item_id"] for r in rows if r["category"] == leaf and r["kind"] == "catalogue"]
