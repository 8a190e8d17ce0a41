"""A shop with a real sealed bundle, made in a second and without TensorFlow.

    root = make_root(tmp_path)                   # photos, one bundle, promoted as version 1
    digest = add_bundle(root, items=90)          # a second bundle, sealed and stored, not promoted
    promote(root, digest, version="2")           # the ledger entry that makes it serve
    decide(root, digest, "2", "canary", share=0.1)  # any other entry
    digest = add_variant(root, digest, edit)     # the bundle after `edit(folder)`, sealed again
    digest = add_localiser(root, digest, box)    # the bundle with one that always finds `box`
    with site(root) as url: ...                  # our routes under uvicorn, in this process
    httpx.put(url + ..., headers=AS_OPERATOR)    # what takes an operator's key
    with bentoml_service(root) as service: ...   # the real service: service.url, service.pid

The embedder is a small ONNX graph: mean colours of a 4 x 4 grid, a fixed projection, unit length.
Its vectors put photos of the same colour and shape together, and its leaf odds are those of the
nearest leaf mean. The last fifth of the items is not in the ScaNN index, as new items are not.
"""

import atexit
import functools
import io
import json
import random
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import uvicorn
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw
from starlette.types import ASGIApp

from model.pixel_spec import PixelSpec
from model.pixels import to_pixels
from pipelines.server_process import free_port, server_process
from serving import bundle as bundles
from serving.champion import Champion
from serving.connection import Connection
from serving.embedder import Embedder
from serving.ledger import Action, Entry, append, champion, now
from serving.routes import create_app
from serving.scann_index import ScannIndex
from serving.settings import Serve, ServeSettings
from serving.shown import with_heads

OPERATOR, OPERATOR_SECRET = "ada", secrets.token_urlsafe(32)
AS_OPERATOR = {"Authorization": f"Bearer {OPERATOR_SECRET}"}
START_SECONDS = 60
SIDE = 32
GRID = 4
DIMENSIONS = 16
DS = date(2026, 11, 20)
CREATED = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
SPEC = f"decode|orient|resize({SIDE})|pad"
LEAVES = (  # path, shape, colour
    ("Fashion > Hats > Beanies", "disc", (200, 40, 60)),
    ("Fashion > Bags > Totes", "square", (30, 90, 180)),
    ("Home > Lamps > Pendants", "triangle", (235, 180, 40)),
    ("Home > Kitchen > Plates", "disc", (60, 150, 110)),
    ("Home > Rugs > Round rugs", "disc", (120, 80, 160)),
    ("Sports > Mats > Yoga mats", "square", (240, 120, 60)),
)
AWKWARD_IDS = {3: "lamp/blue 7", 4: "Stühle#4?x=1&y=2", 5: "100%25", 6: "a/../b", 7: "line\nbreak"}


def make_root(folder: Path, *, items: int = 60) -> Path:
    """A root with `items` photos, their bundle, and a ledger that has it in Production."""
    promote(folder, add_bundle(folder, items=items), version="1")
    return folder


def add_bundle(root: Path, *, items: int, ds: date = DS, created: datetime = CREATED) -> str:
    """Draw the photos, build the bundle, store it under `root`; returns its digest."""
    drawn, digest = _drawn(items, ds, created)
    shutil.copytree(drawn, root, dirs_exist_ok=True)
    return digest


@functools.cache
def _drawn(items: int, ds: date, created: datetime) -> tuple[Path, str]:
    """A folder with the photos and their bundle, made once a process, and its digest."""
    root = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    ids = [AWKWARD_IDS.get(number, f"item-{number:03}") for number in range(items)]
    paths = [f"images/{number:03}.jpg" for number in range(items)]
    photos = [draw_photo(number) for number in range(items)]
    for path, photo in zip(paths, photos, strict=True):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(photo)
    folder = root / "building"
    folder.mkdir()
    pixels = np.stack([to_pixels(photo, PixelSpec(SIDE)) for photo in photos])
    vectors = write_embedder(folder, pixels)
    base = items - items // 5
    index = ScannIndex.build(vectors[:base])
    index.save(folder / "index")
    np.save(folder / "vectors.npy", vectors)
    _write_items(folder, ids, paths)
    leaves = {"leaves": [path for path, _, _ in LEAVES]}
    verdict = {"passed": True, "recall_at_10": 0.991, "p99_ms": 3.2}
    (folder / "taxonomy.json").write_text(json.dumps(leaves))
    (folder / "verdict.json").write_text(json.dumps(verdict))
    facts = {
        "space_id": "tiny-" + str(DIMENSIONS),
        "ds": ds.isoformat(),
        "created": created.isoformat(),
        "pixel_spec": SPEC,
        "index": index.description,
        "counts": {"items": items, "base": base, "leaves": len(LEAVES)},
        "verdict": verdict,
    }
    digest = bundles.seal(folder, facts)
    bundles.store(folder, root / "bundles", digest)
    return root, digest


def promote(root: Path, digest: str, version: str, ds: date = DS) -> Entry:
    """The decision that puts a stored bundle into Production."""
    return decide(root, digest, version, "promote", ds=ds)


def decide(
    root: Path, digest: str, version: str, action: Action, *, share: float = 0, ds: date = DS
) -> Entry:
    """Any decision about a stored bundle."""
    former = champion(root)
    entry = Entry(
        at=now(),
        action=action,
        who="ada@shop.example",
        why="gate passed",
        ds=ds,
        version=version,
        former=former.bundle if former else None,
        bundle=digest,
        share=share,
    )
    append(root, entry)
    return entry


def add_variant(root: Path, digest: str, edit: Callable[[Path], object]) -> str:
    """Copy a bundle, change files of the copy, seal and store it; returns its digest."""
    folder = root / "building"
    shutil.copytree(root / "bundles" / digest, folder)
    edit(folder)
    facts = json.loads((folder / bundles.MANIFEST).read_bytes())
    (folder / bundles.MANIFEST).unlink()
    variant = bundles.seal(folder, {**facts, "files": {}, "variant_of": digest})
    bundles.store(folder, root / "bundles", variant)
    return variant


def add_localiser(root: Path, digest: str, box: Sequence[float], *, side: int = SIDE) -> str:
    """The bundle with a localiser that finds the box, fractions of the square, in every photo."""
    return add_variant(
        root, digest, lambda folder: write_localiser(folder / bundles.LOCALISER, box, side)
    )


def write_localiser(path: Path, box: Sequence[float], side: int = SIDE) -> None:
    """A graph of the network's form, whatever is in the photo."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["zeros"]),
        helper.make_node("Unsqueeze", ["zeros", "axis"], ["column"]),
        helper.make_node("Add", ["column", "edges"], ["box"]),
    ]
    constants = {"zero": np.float32(0), "axis": np.int64([1]), "edges": np.float32(box)}
    graph = helper.make_graph(
        nodes,
        "tiny_localiser",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", side, side, 3])],
        [helper.make_tensor_value_info("box", TensorProto.FLOAT, ["n", len(box)])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


@contextmanager
def site(root: Path, **serve: object) -> Iterator[str]:
    """The routes over `root` at a free port; yields the address once the server answers."""
    champion = Champion(serve_settings(root, **serve))
    app = create_app(champion)
    with listening(app) as url:
        champion.poll()
        champion.start()
        try:
            yield url
        finally:
            app.state.close()
            champion.stop()


def serve_settings(root: Path, **serve: object) -> ServeSettings:
    given = {"poll_seconds": 0.05, "operator_keys": f"{OPERATOR}:{OPERATOR_SECRET}", **serve}
    return ServeSettings(root=root, serve=Serve.model_validate(given))


@contextmanager
def listening(app: ASGIApp) -> Iterator[str]:
    """Any ASGI app under uvicorn at a free port."""
    config = uvicorn.Config(
        app,
        port=0,
        http=Connection,
        ws="none",
        log_level="critical",
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@dataclass(frozen=True)
class Service:
    """A running `bentoml serve`."""

    url: str
    pid: int
    log: Path


@contextmanager
def bentoml_service(root: Path) -> Iterator[Service]:
    """`bentoml serve` over `root` at a free port; yields once it is ready."""
    log = root / "bentoml.log"
    address = ("127.0.0.1", free_port())
    with server_process(bentoml_environment(root), *address, log, seconds=START_SECONDS) as server:
        yield Service(server.url, server.pid, log)


def bentoml_environment(root: Path) -> dict[str, str]:
    """No telemetry, a home of its own, and our settings."""
    return {
        "LOOKALIKE_ROOT": str(root),
        "LOOKALIKE_SERVE__OPERATOR_KEYS": f"{OPERATOR}:{OPERATOR_SECRET}",
        "BENTOML_HOME": str(root / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
    }


def draw_photo(number: int, size: int = 240) -> bytes:
    """A product on white: shape and colour of its leaf, own shade, place and size."""
    chance = random.Random(number)
    _, shape, colour = LEAVES[number % len(LEAVES)]
    shade = tuple(max(0, min(255, channel + chance.randint(-25, 25))) for channel in colour)
    reach = chance.randint(size // 4, size * 2 // 5)
    x, y = (size // 2 + chance.randint(-size // 12, size // 12) for _ in range(2))
    image = Image.new("RGB", (size, size), (250, 250, 250))
    draw = ImageDraw.Draw(image)
    if shape == "disc":
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=shade)
    elif shape == "square":
        draw.rectangle((x - reach, y - reach, x + reach, y + reach), fill=shade)
    else:
        draw.polygon([(x, y - reach), (x - reach, y + reach), (x + reach, y + reach)], fill=shade)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90)
    return data.getvalue()


def _write_items(folder: Path, ids: list[str], paths: list[str]) -> None:
    """Rows as the feed's users see them; some have no brand and no price."""
    numbers = range(len(ids))
    leaves = [LEAVES[number % len(LEAVES)][0] for number in numbers]
    titles = [f"{LEAVES[n % len(LEAVES)][0].split(' > ')[-1]} no. {n}" for n in numbers]
    table = pa.table(
        {
            "item_id": pa.array(ids, pa.string()),
            "product_id": pa.array([f"product-{number // 2:03}" for number in numbers]),
            "title": pa.array(titles),
            "brand": pa.array([("Norrby", "Aldi & Söhne", None)[n % 3] for n in numbers]),
            "category": pa.array(leaves),
            "price": pa.array([None if n % 10 == 9 else 9.5 + n for n in numbers], pa.float64()),
            "currency": pa.array([None if n % 10 == 9 else "EUR" for n in numbers], pa.string()),
            "in_stock": pa.array([n % 7 != 0 for n in numbers]),
            "image": pa.array(paths),
            "attributes": pa.array(
                [[("colour", ("red", "blue")[n % 2])] if n % 3 else None for n in numbers],
                pa.map_(pa.string(), pa.string()),
            ),
        }
    )
    table = with_heads(table)
    path = str(folder / "items.arrow")
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def write_embedder(folder: Path, pixels: np.ndarray, dimensions: int = DIMENSIONS) -> np.ndarray:
    """Write `embedder.onnx`; returns the vectors of `pixels`."""
    path = folder / "embedder.onnx"
    _save_graph(path, np.zeros((dimensions, len(LEAVES)), np.float32))
    vectors, _ = Embedder(path).embed(pixels)
    means = [vectors[leaf :: len(LEAVES)].mean(axis=0) for leaf in range(len(LEAVES))]
    _save_graph(path, 12 * np.stack(means, axis=1))
    return vectors


def _save_graph(path: Path, leaf_weights: np.ndarray) -> None:
    dimensions = len(leaf_weights)
    weights = np.random.default_rng(7).normal(size=(3 * GRID * GRID, dimensions))
    constants = {
        "weights": weights.astype(np.float32),
        "leaf_weights": leaf_weights.astype(np.float32),
        "scale": np.float32(1 / 255),
        "centre": np.full(3 * GRID * GRID, 0.8, np.float32),
    }
    side = SIDE // GRID
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool", ["planes"], ["pooled"], kernel_shape=[side, side], strides=[side, side]
        ),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Mul", ["flat", "scale"], ["unit"]),
        helper.make_node("Sub", ["unit", "centre"], ["centred"]),
        helper.make_node("MatMul", ["centred", "weights"], ["projected"]),
        helper.make_node("LpNormalization", ["projected"], ["vector"], axis=1, p=2),
        helper.make_node("MatMul", ["vector", "leaf_weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["leaf"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", dimensions]),
            helper.make_tensor_value_info("leaf", TensorProto.FLOAT, ["n", len(LEAVES)]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
