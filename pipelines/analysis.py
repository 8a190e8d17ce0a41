"""The Beam pipeline of a day: decode its photos, analyse them with TF-Transform.

One element is one shard's worth of photos, so no pixel ever crosses a shuffle and no Beam cost is
paid per photo. What comes out is one small row a photo: channel moments for TF-Transform, or a
dead letter. A shard that is already there is read, not made again.

TensorFlow, Beam and TF-Transform take ten seconds to import, so only this module does, and
`preprocess` imports it only on a day that brought photos.
"""

import builtins
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.beam import analyzer_cache
from tfx_bsl.tfxio import tensor_adapter

from model.pixel_spec import PixelSpec
from pipelines.catalogue import pixel_store
from pipelines.content_store import shard_name
from pipelines.decode import CHANNELS, STATISTICS, DeadLetter, Photo, decode, statistics
from pipelines.settings import Settings

DEAD = "dead"
PRICE_BUCKETS = 10
NO_WORDS = "49d0cd50-04bb-48c0-bc6f-5b575dce351a"  # what TF-Transform writes instead of nothing


def run_beam(
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
        _faults_of_workers(),
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


class DecodeShard(beam.DoFn):  # type: ignore[misc]
    """Photos -> one shard on disk -> a RecordBatch of STATISTICS; dead letters on `DEAD`."""

    def __init__(self, root: Path, spec: PixelSpec) -> None:
        self._root = root
        self._spec = spec
        self._decoded = beam.metrics.Metrics.counter("decode", "photos")
        self._dead = beam.metrics.Metrics.counter("decode", "dead")

    def process(self, photos: list[Photo]) -> Iterator[object]:
        store = pixel_store(self._root, self._spec)
        name = shard_name([photo.key for photo in photos])
        former = dict(zip(*store.read(name), strict=True)) if store.path(name).is_file() else {}
        results = {
            photo.key: former[photo.key]
            if photo.key in former
            else decode(photo, self._root, self._spec)
            for photo in photos
        }
        dead = [result for result in results.values() if isinstance(result, DeadLetter)]
        pixels = {key: each for key, each in results.items() if not isinstance(each, DeadLetter)}
        keys = list(pixels)
        values = np.stack(list(pixels.values())) if keys else np.empty((0, *store.shape), np.uint8)
        if keys != list(former) or not former:  # new, or a photo that is readable by now
            store.write(name, keys, values)
        self._decoded.inc(len(keys))
        self._dead.inc(len(dead))
        yield from (beam.pvalue.TaggedOutput(DEAD, fault) for fault in dead)
        if keys:
            of_key = {photo.key: photo for photo in photos}
            yield statistics([of_key[key] for key in keys], values)


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


@contextmanager
def _faults_of_workers() -> Iterator[None]:
    """Beam hands a worker's error on as text: a full disk is an OSError again, worth a retry."""
    try:
        yield
    except RuntimeError as error:
        name, _, text = str(error).partition(": ")
        kind = getattr(builtins, name, None)
        if "No space left" in text or (isinstance(kind, type) and issubclass(kind, OSError)):
            raise OSError(text) from error
        raise


def _representations() -> dict[str, schema_pb2.TensorRepresentation]:
    return {
        name: schema_pb2.TensorRepresentation(
            dense_tensor=schema_pb2.TensorRepresentation.DenseTensor(
                column_name=name, shape=schema_pb2.FixedShape()
            )
        )
        for name in STATISTICS.names
    }


def read_statistics(transform: Path) -> dict[str, Any]:
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
    words = [word.decode() for word in output.vocabulary_by_name(name)]
    return [word for word in words if word != NO_WORDS]
