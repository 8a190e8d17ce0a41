"""Photos to canonical pixels (Beam) and full-pass statistics (TF-Transform).

    python -m pipelines.preprocess --ds 2026-11-20

Pixels are kept by the content of the photo and the pixel spec, TF-Transform's analyzer cache by
day: a day decodes and analyses only what it brought. Cost: about 10 s to start (TensorFlow, Beam
and the analysis graph), then about 2 ms a photo on one core. Runs on any Beam runner through
`preprocess.beam_args`; the default is Beam's in-process FnApiRunner.
"""

import json
import logging
import os
import shutil
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.beam import analyzer_cache
from tfx_bsl.tfxio import tensor_adapter

from model.errors import BadInput
from model.pixels import Box
from pipelines.catalogue import pixel_store, read_items, read_shards, read_taxonomy
from pipelines.content_store import shard_name
from pipelines.decode import CHANNELS, DEAD, STATISTICS, DeadLetter, DecodeShard, Photo
from pipelines.settings import Settings, Tolerance
from pipelines.step import Outcome, Partition, Report, command, previous_day, run_step

DEAD_LETTERS = pa.schema([(name, pa.string()) for name in ("pixel_key", "uri", "reason", "detail")])
PRICE_BUCKETS = 10


def run(settings: Settings, ds: date) -> Report:
    """Decode what is new in the catalogue of `ds` and update the statistics."""
    before = previous_day(settings, "preprocess", ds)
    if before and before.done().inputs["spec"] != settings.preprocess.pixel_spec:
        before = None  # another spec: every photo is new
    inputs = {
        "ingest": Partition(settings, "ingest", ds).done().digest,
        "before": before.done().digest if before else "",
        "spec": settings.preprocess.pixel_spec,
        "shard_images": str(settings.preprocess.shard_images),
    }
    return run_step(
        settings,
        "preprocess",
        ds,
        inputs=inputs,
        body=lambda folder: _preprocess(settings, ds, before, folder),
    )


def _preprocess(settings: Settings, ds: date, before: Partition | None, folder: Path) -> Outcome:
    photos = _photos(settings, ds)
    shards = read_shards(before.output) if before else []
    dead = pq.read_table(before.output / "dead.parquet").to_pylist() if before else []
    known = {fault["pixel_key"] for fault in dead}
    store = pixel_store(settings.root, settings.pixel_spec)
    for shard in shards:
        known.update(store.read(shard)[0])
    new = [photo for photo in photos if photo.key not in known]
    size = settings.preprocess.shard_images
    batches = [new[start : start + size] for start in range(0, len(new), size)]
    shards += [shard_name([photo.key for photo in batch]) for batch in batches]

    fresh: list[DeadLetter] = []
    if batches:
        days = [*_days(before), ds.isoformat()]
        fresh = _run_beam(settings, batches, days, folder)
        _check_dead(fresh, len(new), settings.preprocess)
        (folder / "days.json").write_text(json.dumps(days))
    elif before:
        shutil.copytree(before.output, folder, dirs_exist_ok=True)
    statistics = _read_statistics(folder / "transform")
    _check_categories(statistics["category"], settings, ds)

    dead += [vars(fault) for fault in sorted(fresh, key=lambda fault: fault.pixel_key)]
    pq.write_table(pa.Table.from_pylist(dead, DEAD_LETTERS), folder / "dead.parquet")
    (folder / "shards.json").write_text(json.dumps({"shards": shards}, indent=1))
    (folder / "statistics.json").write_text(json.dumps(statistics, indent=1))
    return Outcome(
        rows=len(photos),
        details={
            "decoded": len(new) - len(fresh),
            "kept": len(photos) - len(new),
            "dead": len(fresh),
            "dead_by_reason": _count(fault.reason for fault in fresh),
            "brands": len(statistics["brand"]),
            "channel_mean": statistics["mean"],
        },
    )


def _photos(settings: Settings, ds: date) -> list[Photo]:
    """One photo a pixel key, in the order of the keys."""
    photos: dict[str, Photo] = {}
    columns = ["pixel_key", "image", "box", "category", "brand", "price"]
    for row in read_items(settings, ds).select(columns).to_pylist():
        box = Box(*row["box"]) if row["box"] else None
        photos.setdefault(
            row["pixel_key"],
            Photo(
                row["pixel_key"], row["image"], box, row["category"], row["brand"] or "",
                row["price"],
            ),
        )  # fmt: skip
    return [photos[key] for key in sorted(photos)]


def _days(before: Partition | None) -> list[str]:
    return list(json.loads((before.output / "days.json").read_bytes())) if before else []


def _run_beam(
    settings: Settings, batches: list[list[Photo]], days: list[str], folder: Path
) -> list[DeadLetter]:
    """Decode, analyse the last of `days` with the cache of the others, write the graph."""
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    root = settings.root.resolve()
    cache = str(root / "transform_cache" / settings.preprocess.pixel_spec.replace("|", "_"))
    scratch = folder / "scratch"
    keys = [analyzer_cache.DatasetKey(day) for day in days]
    options = PipelineOptions(list(settings.preprocess.beam_args))
    with (
        beam.Pipeline(options=options) as pipeline,
        tft_beam.Context(temp_dir=str(scratch / "tft"), force_tf_compat_v1=False),
    ):
        decoded = (
            pipeline
            | "Shards" >> beam.Create(batches, reshuffle=len(batches) > 1)
            | "Decode"
            >> beam.ParDo(DecodeShard(root, settings.pixel_spec))
            .with_output_types(pa.RecordBatch)
            .with_outputs(DEAD, main="rows")
        )
        decoded[DEAD] | "WriteDead" >> beam.io.WriteToText(
            str(scratch / "dead" / "part"), coder=_DeadCoder()
        )
        data = dict.fromkeys(keys[:-1], None) | {keys[-1]: decoded.rows}
        cached = pipeline | analyzer_cache.ReadAnalysisCacheFromFS(cache, keys[:-1])
        transform, new_cache = (
            data, cached, tensor_adapter.TensorAdapterConfig(STATISTICS, _representations())
        ) | tft_beam.AnalyzeDatasetWithCache(_analyse)  # fmt: skip
        new_cache | analyzer_cache.WriteAnalysisCacheToFS(pipeline, cache, keys)
        transform | tft_beam.WriteTransformFn(str(folder / "transform"))
    # It holds a random number, and nothing reads it: the same day must give the same bytes.
    (folder / "transform" / tft.TFTransformOutput.TRANSFORM_FN_DIR / "fingerprint.pb").unlink()
    lines = [
        line
        for part in sorted((scratch / "dead").glob("part*"))
        for line in part.read_text().splitlines()
    ]
    shutil.rmtree(scratch)
    return [DeadLetter(**json.loads(line)) for line in lines]


class _DeadCoder(beam.coders.Coder):  # type: ignore[misc]
    """Dead letters as lines of JSON."""

    def encode(self, value: DeadLetter) -> bytes:
        return json.dumps(vars(value)).encode()

    def is_deterministic(self) -> bool:
        return True


def _analyse(row: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """TF-Transform's preprocessing_fn: moments, vocabularies, price quantiles."""
    tft.vocabulary(row["brand"], vocab_filename="brand", name="brand")
    tft.vocabulary(row["category"], vocab_filename="category", name="category")
    ones = tf.ones_like(row["price"])
    bounds = tft.quantiles(
        row["price"], PRICE_BUCKETS, epsilon=0.01, weights=row["priced"], name="price"
    )
    outputs = {"price_bounds": ones[:, None] * tf.reshape(bounds, [1, -1])}
    for name in (*CHANNELS, *(f"{channel}_square" for channel in CHANNELS)):
        outputs[name] = ones * tft.mean(row[name], name=name)
    return outputs


def _representations() -> dict[str, schema_pb2.TensorRepresentation]:
    return {
        name: schema_pb2.TensorRepresentation(
            dense_tensor=schema_pb2.TensorRepresentation.DenseTensor(
                column_name=name, shape=schema_pb2.FixedShape()
            )
        )
        for name in STATISTICS.names
    }


def _read_statistics(transform: Path) -> dict[str, Any]:
    """The analysis as plain numbers: channel mean and deviation (0 to 255), vocabularies."""
    output = tft.TFTransformOutput(str(transform))
    number, text = tf.constant([0.0]), tf.constant([b""])
    is_text = {"brand", "category"}
    row = {name: text if name in is_text else number for name in STATISTICS.names}
    values = output.transform_raw_features(row)
    mean = [float(values[name][0]) for name in CHANNELS]
    square = [float(values[f"{name}_square"][0]) for name in CHANNELS]
    return {
        "mean": mean,
        "deviation": [
            max(second - first * first, 1.0) ** 0.5
            for first, second in zip(mean, square, strict=True)
        ],
        "price_bounds": [float(bound) for bound in values["price_bounds"][0]],
        "brand": _vocabulary(output, "brand"),
        "category": _vocabulary(output, "category"),
    }


def _vocabulary(output: tft.TFTransformOutput, name: str) -> list[str]:
    return [word.decode() for word in output.vocabulary_by_name(name)]


def _check_dead(dead: list[DeadLetter], photos: int, limit: Tolerance) -> None:
    if not limit.allows(len(dead), photos):
        raise BadInput(
            f"{len(dead)} of {photos} new photos cannot be decoded. Expected at most "
            f"{limit.max_bad_share:.2%}. "
            f"Received: {_count(fault.reason for fault in dead)}. First: {dead[0].uri}. "
            f"Repair the photos or raise `preprocess.max_bad_share`."
        )


def _check_categories(vocabulary: list[str], settings: Settings, ds: date) -> None:
    unknown = set(vocabulary) - set(read_taxonomy(settings, ds).leaves)
    if unknown:
        raise BadInput(
            f"TF-Transform counted categories that the taxonomy lacks: {sorted(unknown)[:5]}. "
            f"The taxonomy of an earlier day was replaced; run `ingest` for every day again."
        )


def _count(reasons: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items()))


if __name__ == "__main__":
    command(run)
