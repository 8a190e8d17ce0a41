"""Heads beside the taxonomy, such as brand or colour, of which many photos say nothing.

An unknown value is a row of zeros: it adds nothing to the loss, mixed with another photo or not.
"""

import keras
import numpy as np
import numpy.typing as npt

UNKNOWN = -1
PREFIX = "attribute_"  # of a head's output in the network

Ids = npt.NDArray[np.int32]
Array = npt.NDArray[np.float32]


def shares(ids: Ids, values: int) -> Array:
    """Ids int32 [n] -> one-hot float32 [n, values], zeros where the id is UNKNOWN."""
    return np.asarray(ids[:, None] == np.arange(values), np.float32)


def attribute_loss(share: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Cross entropy float32 [n] of `shares` and logits, both [n, values]."""
    return -keras.ops.sum(share * keras.ops.log_softmax(logits), axis=-1)


def accuracy(ids: Ids, odds: Array) -> float | None:
    """Share of the known ids [n] that the odds [n, values] get right; None if none is known."""
    known = ids != UNKNOWN
    return float(np.mean(odds[known].argmax(axis=1) == ids[known])) if known.any() else None
