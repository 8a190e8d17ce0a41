"""The exact neighbours in the full space, computed once for the same queries and items.

    <root>/truth/<digest>.npz     rows int32 [q, k] and scores float32 [q, k], best first

The digest is of the full space, of the photos asked with, of the photos asked for, and of k. So a
gate with other thresholds, or an index built anew, reads what is there; another embedder, query or
item has another file. What is read is checked: the scores of its rows are computed again, and a
file that does not give them is computed anew. The newest KEPT files stay.
"""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog

from serving.exact import ExactIndex
from serving.index import Rows, Vectors
from serving.whole_file import write_atomically

FOLDER = "truth"
KEPT = 60
ROUNDING = 1e-5  # of a cosine, between a matrix product and a sum

log = structlog.get_logger()


@dataclass(frozen=True)
class Photos:
    """Photos by their keys, and their full embeddings [n, D]."""

    keys: Sequence[str]
    vectors: Vectors


@dataclass(frozen=True)
class Truth:
    """Of each query the nearest rows [q, k] and their cosines [q, k], best first."""

    rows: Rows
    scores: Vectors


def full_truth(root: Path, space: str, asked: Photos, base: Photos, k: int) -> Truth:
    """Read, or compute and keep. `space` names what made the embeddings."""
    path = root / FOLDER / f"{_digest(space, asked.keys, base.keys, k)}.npz"
    known = _read(path)
    if known is not None and _holds(known, asked.vectors, base.vectors, k):
        log.info("truth.read", queries=len(asked.keys), items=len(base.keys), k=k)
        return known
    truth = Truth(*ExactIndex(base.vectors).search(asked.vectors, k))
    buffer = io.BytesIO()
    np.savez(buffer, rows=truth.rows, scores=truth.scores)
    write_atomically(path, buffer.getvalue())
    _drop_oldest(path.parent)
    log.info("truth.computed", queries=len(asked.keys), items=len(base.keys), k=k)
    return truth


def _digest(space: str, asked: Sequence[str], base: Sequence[str], k: int) -> str:
    parts = (space, "".join(asked), "".join(base), str(k))
    ends = (hashlib.sha256(part.encode()).hexdigest() for part in parts)
    return hashlib.sha256("".join(ends).encode()).hexdigest()[:24]


def _read(path: Path) -> Truth | None:
    """None without a file, and of a damaged one: it can be computed again."""
    try:
        # Not by its path: of a damaged archive NumPy would leave the file open.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            return Truth(arrays["rows"], arrays["scores"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        log.warning("truth.damaged", path=str(path), error=str(error))
        return None


def _holds(truth: Truth, asked: Vectors, base: Vectors, k: int) -> bool:
    """Whether the rows have these scores in these vectors."""
    shape = (len(asked), min(k, len(base)))
    rows = truth.rows
    if rows.shape != shape or truth.scores.shape != shape or rows.dtype != np.int32:
        return False
    if rows.size and not (rows.min() >= 0 and rows.max() < len(base)):
        return False
    scores = np.einsum("qd,qkd->qk", asked, base[rows])
    return bool((np.abs(scores - truth.scores) <= ROUNDING).all())


def _drop_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime_ns)
    for path in files[:-KEPT]:
        path.unlink(missing_ok=True)
