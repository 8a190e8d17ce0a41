"""The state of a training after an epoch: weights, optimizer and the curves so far."""

import json
import warnings
from pathlib import Path
from typing import Any

import keras

from model.errors import Damaged

HISTORY = "history.json"


def save(model: keras.Model, epochs: list[dict[str, Any]], folder: Path) -> None:
    """The rename of `history.json` is the commit; it names the weights that belong to it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"epoch-{len(epochs)}.weights.h5"
    model.save_weights(folder / name)
    staged = folder / f".{HISTORY}"
    staged.write_text(json.dumps({"weights": name, "epochs": epochs}))
    staged.replace(folder / HISTORY)
    for other in folder.glob("epoch-*.weights.h5"):
        if other.name != name:
            other.unlink()


def restore(model: keras.Model, folder: Path) -> list[dict[str, Any]]:
    """Load the weights into a compiled model; the epochs so far, none without a checkpoint.

    Raises Damaged for a checkpoint that is there but not whole: to start again silently would
    throw hours away, and hide it.
    """
    try:
        text = (folder / HISTORY).read_bytes()
    except FileNotFoundError:
        return []
    try:
        state = json.loads(text)
        name, epochs = state["weights"], list(state["epochs"])
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, f"{HISTORY} to name weights and epochs", error) from error
    try:
        with warnings.catch_warnings():
            # Keras only warns of an optimizer that does not fit, and starts it anew.
            warnings.filterwarnings("error", "Skipping", UserWarning)
            model.load_weights(folder / name)
    except (OSError, ValueError, KeyError, UserWarning) as error:
        expected = f"{name}, which {HISTORY} names, to hold this network's weights"
        raise _damaged(folder, expected, error) from error
    return epochs


def _damaged(folder: Path, expected: str, error: Exception) -> Damaged:
    lines = str(error).strip().splitlines() or [""]
    return Damaged(
        f"Cannot resume from the checkpoint {folder}. Expected {expected}. "
        f"Received: {type(error).__name__}: {lines[0]} "
        f"Put the file back, or remove the folder to train from the start."
    )
