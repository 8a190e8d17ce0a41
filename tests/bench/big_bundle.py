"""A root with one bundle of as many items as asked, made once below `build/bench` and kept.

The vectors are drawn from the mixture, the index is ScaNN as tuning finds it for a million, the
embedder is the small graph of the tests: what is measured over it is the server, not the network.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from model.pixel_spec import PixelSpec
from model.pixels import to_pixels
from serving import bundle as bundles
from serving.engines import build_index
from serving.shown import with_heads
from tests.bench.figures import BUILD
from tests.bench.mixture import BLOCK, Mixture
from tests.tiny_bundle import CREATED, DS, LEAVES, SIDE, SPEC, draw_photo, promote, write_embedder

DIMENSIONS = 96
APART = 0.002  # share of the items that is not in the index, as the gate holds some out
LEAVES_TO_SEARCH, REORDER = 4, 70


def big_root(items: int) -> Path:
    """The root, with its bundle in Production."""
    root = BUILD / f"serve-{items}"
    if not (root / "ledger.jsonl").exists():
        digest = big_bundle(root, items)
        promote(root, digest, version="1")
    return root


def big_bundle(root: Path, items: int, seed: int = 0) -> str:
    """Build and store a bundle; returns its digest."""
    folder = root / "building"
    folder.mkdir(parents=True, exist_ok=True)
    vectors = drawn(items, seed)
    base = items - int(items * APART)
    form = f"tree={int(2 * np.sqrt(base))},avq=2.5,ah=2,bfloat16"
    effort = {"leaves_to_search": LEAVES_TO_SEARCH, "reorder": REORDER}
    index = build_index(vectors[:base], f"scann:{form}").with_effort(effort)
    index.save(folder / "index")
    np.save(folder / "vectors.npy", vectors)
    pixels = np.stack([to_pixels(draw_photo(n), PixelSpec(SIDE)) for n in range(30)])
    write_embedder(folder, pixels, DIMENSIONS)
    _write_items(folder / "items.arrow", items)
    leaves = {"leaves": [path for path, _, _ in LEAVES]}
    (folder / "taxonomy.json").write_text(json.dumps(leaves))
    (folder / "verdict.json").write_text("{}")
    facts = {
        "space_id": f"mixture-{DIMENSIONS}",
        "ds": DS.isoformat(),
        "created": CREATED.isoformat(),
        "pixel_spec": SPEC,
        "index": index.description,
        "counts": {"items": items, "base": base, "leaves": len(LEAVES)},
        "verdict": {"passed": True},
    }
    digest = bundles.seal(folder, facts)
    bundles.store(folder, root / "bundles", digest)
    return digest


def drawn(items: int, seed: int = 0) -> np.ndarray:
    shop = Mixture.of(items, dimensions=DIMENSIONS, seed=seed)
    blocks = [shop.block(number) for number in range(-(-items // BLOCK))]
    return np.concatenate(blocks)[:items]


def item_ids(items: int) -> list[str]:
    return [f"item-{number:08}" for number in range(items)]


def _write_items(path: Path, items: int) -> None:
    numbers = np.arange(items)
    leaves = pa.array([leaf for leaf, _, _ in LEAVES])
    brands = pa.array([f"Brand {number}" for number in range(500)])
    table = pa.table(
        {
            "item_id": pa.array(item_ids(items)),
            "product_id": pa.array([f"product-{number // 2}" for number in range(items)]),
            "title": pa.array([f"A product such as number {number}" for number in range(items)]),
            "brand": brands.take(pa.array(numbers * 7919 % len(brands))),
            "category": leaves.take(pa.array(numbers % len(leaves))),
            "price": pa.array(5 + numbers % 200 / 2),
            "currency": pa.array(["EUR"] * items),
            "in_stock": pa.array(numbers % 10 != 0),
            "image": pa.array([f"images/{number % 30}.jpg" for number in range(items)]),
            "attributes": pa.nulls(items, pa.map_(pa.string(), pa.string())),
        }
    )
    table = with_heads(table)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
