"""The network of the bundle that serves, as `train` left it: what a refresh embeds with."""

import json
from datetime import date

from model.errors import BadInput
from pipelines.settings import Settings
from pipelines.step import Partition, days_of
from serving.bundle import MANIFEST
from serving.ledger import champion


def champion_training(settings: Settings, ds: date) -> Partition:
    """The newest output of `train` up to `ds` that holds the champion's embedder.

    Raises BadInput where nothing serves, or where that embedder is not here, or not of this pixel
    spec: a refresh trains nothing.
    """
    now = champion(settings.root)
    if now is None:
        raise BadInput(
            "Nothing serves, so there is no embedder to keep. Expected a champion in the ledger. "
            "Run `daily_retrain`, or `lookalike run`, first."
        )
    embedder = _embedder_of(settings, now.bundle)
    for day in reversed(days_of(settings, "train")):
        partition = Partition(settings, "train", day)
        done = partition.done()
        if day <= ds and done.details["embedder"] == embedder and partition.output.is_dir():
            if done.inputs["pixel_spec"] == settings.preprocess.pixel_spec:
                return partition
            raise BadInput(
                f"The champion's embedder takes other pixels. Expected "
                f"`{done.inputs['pixel_spec']}`. Received `{settings.preprocess.pixel_spec}` "
                f"(preprocess.pixel_spec). Only `daily_retrain` can change them."
            )
    raise BadInput(
        f"The embedder {embedder} of the champion {now.bundle} is in no output of `train` up to "
        f"{ds}: its day was done again with another. `daily_retrain` makes the next bundle."
    )


def _embedder_of(settings: Settings, bundle: str) -> str:
    path = settings.root / "bundles" / bundle / MANIFEST
    try:
        return str(json.loads(path.read_bytes())["embedder"])
    except FileNotFoundError:
        raise BadInput(
            f"The champion {bundle} is not below {settings.root / 'bundles'}, so its embedder is "
            f"not known. `lookalike rollback --to VERSION` brings it from the registry."
        ) from None
