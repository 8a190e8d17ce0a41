"""Records: a vector as a byte for each dimension, beside the centre of its list.

    uint8 [n, d + 8]: the difference to the centre as int8 [d], its scale float32, its list int32

The scale is stretched so that the product of a record with its own vector is 1: what a query looks
for is nearly parallel to it, so the error along the vector is the one that counts, and this leaves
none (as in RaBitQ, Gao & Long 2024).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import numpy.typing as npt

from serving.index import Vectors

PART = 4096  # vectors that are made records of at a time: they fit the processor's cache
EXTRA = 8  # bytes beside those of the dimensions

Bytes = npt.NDArray[np.uint8]
Lists = npt.NDArray[np.int32]


def make_records(block: Vectors, middles: Vectors, members: Lists) -> Bytes:
    """Of vectors float32 [n, d], centres [lists, d], and the list of each vector int32 [n]."""
    n, d = block.shape
    centre = middles[members]
    difference = block - centre
    scale = np.abs(difference).max(axis=1) / 127
    codes = np.rint(difference / np.maximum(scale, 1e-12)[:, None])
    missing = 1 - np.einsum("nd,nd->n", centre, block)
    stretch = missing / np.maximum(np.einsum("nd,nd->n", codes, block) * scale, 1e-12)
    records = np.empty((n, d + EXTRA), np.uint8)
    records[:, :d] = codes.astype(np.int8).view(np.uint8)
    # Next to its centre a vector has nothing to stretch.
    records[:, d : d + 4].view(np.float32)[:, 0] = scale * np.clip(stretch, 0.98, 1.02)
    records[:, d + 4 :].view(np.int32)[:, 0] = members
    return records


def in_parts(block: Vectors, middles: Vectors, members: Lists) -> Iterator[Bytes]:
    """The records of a block, in parts that fit the processor's cache, in several threads."""
    parts = [slice(start, start + PART) for start in range(0, len(block), PART)]
    with ThreadPoolExecutor(faiss.omp_get_max_threads()) as pool:
        yield from pool.map(lambda part: make_records(block[part], middles, members[part]), parts)


def difference_products(records: Bytes, queries: Vectors) -> tuple[Vectors, Lists]:
    """Of records [q, c, d + 8]: products of differences and queries [q, c], and lists [q, c]."""
    d = queries.shape[1]
    codes = records[..., :d].view(np.int8).astype(np.float32)
    scales = records[..., d : d + 4].view(np.float32)[..., 0]
    # No BLAS here: its threads would fight with those of the caller over so small products.
    found = np.einsum("qcd,qd->qc", codes, queries) * scales
    return found, records[..., d + 4 :].view(np.int32)[..., 0]


def centre_products(lists: Lists, near: Vectors, probed: npt.NDArray[np.int64]) -> Vectors:
    """Each candidate's product of query and centre [q, c], looked up by its list."""
    order = np.argsort(probed, axis=1)
    base = (np.arange(len(lists), dtype=np.int64) << 32)[:, None]
    keys = (np.take_along_axis(probed, order, axis=1) + base).ravel()
    place = np.searchsorted(keys, (lists + base).ravel()).clip(0, len(keys) - 1)
    found: Vectors = np.take_along_axis(near, order, axis=1).ravel()[place]
    return found.reshape(lists.shape)
