"""From the bytes of a JPEG to its vector: photos a second on two cores.

    make bench NAME=embed

The peer is what Keras users do: Pillow decodes one photo after the other in full, then
`keras.Model.predict` in float32; beside it the same with our own decoding. Ours decodes in two
threads while OpenVINO embeds, in int8 and in float32. Each side is a process of its own that rests
while the other works; both see the same two cores. Two networks: the default one at 64 px, trained
for some epochs on the sample so that its neighbours mean something, and one of ResNet-34's blocks
at 224 px with random weights, for the speed alone. Photos as the sample has them, and as a shop's
studio delivers them. The machine's peak is that of large convolutions and matrix products in
OpenVINO, the faster of both. Cost: 13 minutes on two cores without AVX-512.
"""

import io
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property, partial
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from PIL import Image

from model.errors import BadImage
from model.pixel_spec import PixelSpec
from model.pixels import Pixels, to_pixels
from model.quantise import quantise
from pipelines.sample import write_sample
from serving.embedder import Embedder
from serving.graph import core, openvino
from tests.bench.figures import Row, interleaved, median, quick, write

CORES = 2
BLOCK = 64  # photos that one thread decodes before they are embedded
STUDIO = 1000  # pixels of the longer side
GOAL, OVERLAP_GOAL = 4.0, 0.97
NEIGHBOURS = 10
PEER, OUR_DECODING = "Keras fp32 predict, Pillow", "Keras fp32 predict, our decoding"

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Network:
    """A network to embed with; `epochs` of training, 0: weights as drawn."""

    side: int
    blocks: tuple[int, ...]
    width: int
    epochs: int
    calibration: int  # photos

    @property
    def name(self) -> str:
        return f"{self.side} px"


@dataclass(frozen=True)
class Work:
    """Photos in memory, through one network."""

    network: Network
    photos: int
    studio: bool = False

    @property
    def name(self) -> str:
        return f"{self.network.name}, {'studio' if self.studio else 'sample'} photos"


@dataclass(frozen=True)
class Plan:
    """How much of everything to measure."""

    items: int
    rounds: int
    peak_side: int  # of the maps and matrices
    works: tuple[Work, ...]

    @property
    def networks(self) -> list[Network]:
        return list(dict.fromkeys(work.network for work in self.works))


def plan() -> Plan:
    if quick():
        small = Network(64, (1, 1, 1, 1), 24, epochs=4, calibration=128)
        large = Network(224, (1, 1, 1, 1), 64, epochs=0, calibration=8)
        works = Work(small, 256), Work(small, 64, studio=True), Work(large, 8, studio=True)
        return Plan(380, 3, 14, works)
    small = Network(64, (1, 1, 1, 1), 24, epochs=12, calibration=512)
    large = Network(224, (3, 4, 6, 3), 64, epochs=0, calibration=16)
    works = Work(small, 1024), Work(small, 256, studio=True), Work(large, 32, studio=True)
    return Plan(2500, 7, 28, works)


class Photos:
    """The sample's JPEGs as bytes, without its planted faults, and their categories as numbers."""

    def __init__(self, folder: Path) -> None:
        rows = pq.read_table(folder / "sample" / "day1.parquet").to_pylist()
        places = [(row, folder / "sample" / row["image"]) for row in rows]
        files = [(row, path.read_bytes()) for row, path in places if path.is_file()]
        good = [(row, data) for row, data in files if data[:2] == b"\xff\xd8" and _is_photo(data)]
        names = [str(row["category"]) for row, _ in good]
        self.leaf = np.unique(names, return_inverse=True)[1]
        self.data = [data for _, data in good]

    def of(self, work: Work) -> list[bytes]:
        photos = self.data[: work.photos]
        return [_as_delivered(photo) for photo in photos] if work.studio else photos

    def pixels(self, side: int, photos: int | None = None) -> Pixels:
        return np.stack([to_pixels(data, PixelSpec(side)) for data in self.data[:photos]])


def _is_photo(data: bytes) -> bool:
    try:
        to_pixels(data, PixelSpec(64))
    except BadImage:
        return False
    return True


def _as_delivered(photo: bytes) -> bytes:
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    scale = STUDIO / max(image.size)
    size = round(image.width * scale), round(image.height * scale)
    data = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(data, "JPEG", quality=90)
    return data.getvalue()


class KerasSide:
    """The peer, which also makes the networks. TensorFlow is in its process only."""

    def __init__(self, folder: Path) -> None:
        import keras  # noqa: F401  ten seconds, while the sample is drawn

        self._folder = folder
        self._models: dict[Network, Any] = {}
        self._bytes = cache(lambda work: self._photos.of(work))

    @cached_property
    def _photos(self) -> Photos:
        return Photos(self._folder)

    def make(self, network: Network) -> None:
        """Build, train if it is to be trained, and export in both precisions."""
        import keras

        from model import backbone
        from model.export import embedder, export_embedder

        keras.utils.set_random_seed(0)
        recipe = backbone.Network(blocks=network.blocks, width=network.width)
        leaf = self._photos.leaf
        model = backbone.build(recipe, int(leaf.max()) + 1, mean=[180.0] * 3, deviation=[60.0] * 3)
        if network.epochs:
            train = keras.Model(model.input, model.output["logits"])
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            train.compile(keras.optimizers.Adam(0.003), loss)
            pixels = self._photos.pixels(network.side)
            train.fit(pixels, leaf, batch_size=32, epochs=network.epochs, verbose=0)
        else:
            _settle(model, self._photos.pixels(network.side, 4))
        exact = graph(self._folder, network, "float32")
        export_embedder(model, network.side, exact)
        calibration = self._photos.pixels(network.side, network.calibration)
        quantise(exact, calibration, graph(self._folder, network, "int8"))
        self._models[network] = embedder(model, network.side)

    def speed(self, work: Work, *, plain: bool) -> float:
        """Photos a second; `plain`: decoded as tutorials do."""
        photos = self._bytes(work)
        started = time.perf_counter()
        self._vectors(work.network, photos, plain)
        return len(photos) / (time.perf_counter() - started)

    def vectors(self, network: Network) -> Array:
        return self._vectors(network, self._photos.data, plain=False)

    def _vectors(self, network: Network, photos: Sequence[bytes], plain: bool) -> Array:
        side = network.side
        decode = _plainly if plain else lambda photo, side: to_pixels(photo, PixelSpec(side))
        pixels = np.stack([decode(photo, side) for photo in photos])
        batch = min(128, len(photos))
        found = self._models[network].predict(pixels, batch_size=batch, verbose=0)
        return np.asarray(found["embedding"])


def _plainly(photo: bytes, side: int) -> Pixels:
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def _settle(model: Any, pixels: Pixels) -> None:
    """Norms of scale one that know the photos: drawn weights alone would embed nothing."""
    for layer in model._flatten_layers():
        if type(layer).__name__ == "BatchNormalization":
            layer.momentum = 0.0
            layer.gamma.assign(np.ones(layer.gamma.shape))
    model(pixels, training=True)


class OurSide:
    """Two threads decode, OpenVINO embeds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bytes = cache(lambda work: self._photos.of(work))
        self._pixels = cache(lambda side, photos: self._photos.pixels(side, photos))
        self._embedder = cache(lambda network, kind: Embedder(graph(folder, network, kind)))
        self._peak = cache(_Peak)

    @cached_property
    def _photos(self) -> Photos:
        return Photos(self._folder)

    def speed(self, work: Work, kind: str) -> float:
        """Photos a second, from bytes to vectors."""
        photos, embedder = self._bytes(work), self._embedder(work.network, kind)
        started = time.perf_counter()
        embed_photos(embedder, photos)
        return len(photos) / (time.perf_counter() - started)

    def network_speed(self, work: Work, kind: str) -> float:
        """Photos a second of the network alone."""
        pixels = self._pixels(work.network.side, work.photos)
        embedder = self._embedder(work.network, kind)
        started = time.perf_counter()
        embedder.embed(pixels)
        return len(pixels) / (time.perf_counter() - started)

    def vectors(self, network: Network, kind: str) -> Array:
        return embed_photos(self._embedder(network, kind), self._photos.data)

    def peak(self, form: str, kind: str, side: int) -> float:
        """Operations a second."""
        return float(self._peak(form, kind, side)())

    def operations(self, network: Network) -> int:
        return operations(graph(self._folder, network, "float32"), network.side)


def embed_photos(embedder: Embedder, photos: Sequence[bytes]) -> Array:
    """Vectors of encoded photos; some are decoded while others are embedded."""
    spec = PixelSpec(embedder.side)
    blocks = [photos[start : start + BLOCK] for start in range(0, len(photos), BLOCK)]
    with ThreadPoolExecutor(CORES) as pool:  # Pillow lets go of the interpreter
        decoded = pool.map(lambda block: np.stack([to_pixels(one, spec) for one in block]), blocks)
        return np.concatenate([embedder.embed(pixels)[0] for pixels in decoded])


class _Peak:
    """Three large layers of one kind, computed on every core at once."""

    DEPTH = 3

    def __init__(self, form: str, kind: str, side: int) -> None:
        op = openvino.opset13
        channels = 512
        shape = [4, channels, side, side] if form == "convolution" else [4 * side * side, 2048]
        width = shape[1]
        size = (width, width, 3, 3) if form == "convolution" else (width, width)
        x = inputs = op.parameter(shape, np.float32)
        for seed in range(self.DEPTH):
            drawn = np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)
            weights = op.constant(drawn)
            if kind == "int8":
                x, weights = _rounded(x, 0, 255), _rounded(weights, -1, 1, levels=255)
            if form == "convolution":
                x = op.convolution(x, weights, [1, 1], [1, 1], [1, 1], [1, 1])
            else:
                x = op.matmul(x, weights, False, False)
            x = op.relu(x)
        model = openvino.Model([op.result(x)], [inputs])
        options = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": CORES}
        compiled = core.compile_model(model, "CPU", options)
        self._requests = [compiled.create_infer_request() for _ in range(CORES)]
        self._operations = 2 * self.DEPTH * int(np.prod(shape)) * int(np.prod(size[1:]))

    def __call__(self) -> float:
        started = time.perf_counter()
        for request in self._requests:
            request.start_async()
        for request in self._requests:
            request.wait()
        return len(self._requests) * self._operations / (time.perf_counter() - started)


def _rounded(x: Any, low: float, high: float, levels: int = 256) -> Any:
    ends = [openvino.opset13.constant(np.float32(end)) for end in (low, high, low, high)]
    return openvino.opset13.fake_quantize(x, *ends, levels)


def operations(path: Path, side: int) -> int:
    """Multiplications and additions of the convolutions for one photo."""
    model = core.read_model(path)
    model.reshape([1, side, side, 3])
    return sum(
        2 * int(np.prod(node.output(0).shape)) * int(np.prod(node.input_value(1).shape[1:]))
        for node in model.get_ops()
        if node.get_type_name() == "Convolution"
    )


def graph(folder: Path, network: Network, kind: str) -> Path:
    return folder / f"{network.side}.{kind}.onnx"


def overlap(exact: Array, asked: Array, first: int) -> float:
    """Mean share of equal nearest NEIGHBOURS of rows from `first` on, among all but themselves."""
    found = []
    for queries in (exact, asked):
        scores = queries[first:] @ exact.T
        scores[np.arange(len(scores)), np.arange(first, len(exact))] = -np.inf
        found.append(np.argsort(-scores, axis=1)[:, :NEIGHBOURS])
    return float(np.mean([np.isin(*pair).mean() for pair in zip(*found, strict=True)]))


class Side:
    """One side in a process of its own: `side("speed", work)` calls it there."""

    def __init__(self, make: Callable[[Path], object], folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, folder), daemon=True)
        self._process.start()
        theirs.close()

    def __call__(self, name: str, *arguments: Any, **options: Any) -> Any:
        self._pipe.send((name, arguments, options))
        return self._pipe.recv()

    def close(self) -> None:
        self._pipe.close()
        self._process.join()


def _serve(pipe: Connection, make: Callable[[Path], object], folder: Path) -> None:
    side = make(folder)
    while True:
        try:
            name, arguments, options = pipe.recv()
        except EOFError:
            return
        pipe.send(getattr(side, name)(*arguments, **options))


def measure(folder: Path, plan: Plan) -> list[Row]:
    """Every row, with what both sides need below `folder`."""
    keras, ours = Side(KerasSide, folder), Side(OurSide, folder)
    try:
        write_sample(folder / "sample", items=plan.items, processes=CORES)
        for network in plan.networks:
            keras("make", network)
        rows = [row for work in plan.works for row in _speeds(keras, ours, work, plan.rounds)]
        rows += [row for network in plan.networks if network.epochs
                 for row in _overlaps(keras, ours, network)]  # fmt: skip
        return rows + _shares(ours, plan)
    finally:
        keras.close()
        ours.close()


def _speeds(keras: Side, ours: Side, work: Work, rounds: int) -> list[Row]:
    contenders: dict[str, Callable[[], float]] = {
        PEER: partial(keras, "speed", work, plain=True),
        OUR_DECODING: partial(keras, "speed", work, plain=False),
        "int8": partial(ours, "speed", work, "int8"),
        "float32": partial(ours, "speed", work, "float32"),
    }
    for contender in contenders.values():
        contender()  # compiles
    found = {name: median(speeds) for name, speeds in interleaved(contenders, rounds).items()}
    return [
        Row(f"JPEG to vector, {work.name}, {kind}", "photos/s", found[kind], peer, found[peer],
            goal=GOAL if (kind, peer) == ("int8", PEER) else None)
        for kind in ("int8", "float32") for peer in (PEER, OUR_DECODING)
    ]  # fmt: skip


def _overlaps(keras: Side, ours: Side, network: Network) -> list[Row]:
    exact = keras("vectors", network)
    return [
        Row(f"neighbour overlap@{NEIGHBOURS} with Keras, {network.name}, {kind}", "share",
            overlap(exact, ours("vectors", network, kind), network.calibration), goal=OVERLAP_GOAL)
        for kind in ("int8", "float32")
    ]  # fmt: skip


def _shares(ours: Side, plan: Plan) -> list[Row]:
    """What the networks alone make of the operations that the cores can do."""
    works = {work.network: work for work in plan.works}
    contenders: dict[str, Callable[[], float]] = {}
    for kind in ("int8", "float32"):
        for form in ("convolution", "matrix product"):
            contenders[f"{form} {kind}"] = partial(ours, "peak", form, kind, plan.peak_side)
        for network, work in works.items():
            contenders[f"{network.name} {kind}"] = partial(ours, "network_speed", work, kind)
    for contender in contenders.values():
        contender()
    found = {
        name: median(figures) for name, figures in interleaved(contenders, plan.rounds).items()
    }
    rows = []
    for kind in ("int8", "float32"):
        peak = max(found[f"{form} {kind}"] for form in ("convolution", "matrix product"))
        for network in works:
            used = found[f"{network.name} {kind}"] * ours("operations", network)
            rows.append(Row(f"network alone, {network.name}, {kind}", "TOP/s", used / 1e12,
                            f"measured {kind} peak", peak / 1e12))  # fmt: skip
    return rows


def main() -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    chosen = plan()
    with TemporaryDirectory() as folder:
        rows = measure(Path(folder), chosen)
    conditions = {
        "cores": CORES,
        "rounds": f"{chosen.rounds}, interleaved, medians",
        **{work.name: f"{work.photos} photos" for work in chosen.works},
        "studio photos": f"the sample's, enlarged to {STUDIO} px, JPEG quality 90",
        **{
            f"network {network.name}": f"blocks {network.blocks}, width {network.width}, "
            + (f"{network.epochs} epochs" if network.epochs else "random weights")
            for network in chosen.networks
        },
        "decoding": "photos in memory; ours two threads of Pillow, both sides' files the same",
    }
    write("embed", conditions, rows)


if __name__ == "__main__":
    main()
