"""What the heads of a network tell apart, written beside it so that a later one can follow it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.attributes import PREFIX, UNKNOWN
from model.errors import BadInput
from model.fit import Photos
from model.taxonomy import Taxonomy
from model.warm_start import LEAF, Head
from pipelines.training_photos import Values

FILE = "classes.json"


@dataclass(frozen=True)
class Classes:
    """Leaves and attribute values in the order of their outputs, and the photos of each."""

    pixel_spec: str
    taxonomy: Taxonomy
    attributes: Values
    photos: Mapping[str, tuple[int, ...]]  # by layer: `leaf`, `attribute_<name>`

    @classmethod
    def of(
        cls, pixel_spec: str, taxonomy: Taxonomy, attributes: Values, train: Photos
    ) -> "Classes":
        photos = {LEAF: _counts(train.leaf, len(taxonomy.leaves))}
        for name, values in attributes.items():
            photos[PREFIX + name] = _counts(train.attributes[name], len(values))
        return cls(pixel_spec, taxonomy, attributes, photos)

    def write(self, folder: Path) -> None:
        held = {
            "pixel_spec": self.pixel_spec,
            "taxonomy": json.loads(self.taxonomy.to_json()),
            "attributes": self.attributes,
            "photos": self.photos,
        }
        (folder / FILE).write_text(json.dumps(held))

    @classmethod
    def read(cls, folder: Path) -> "Classes":
        """Raises BadInput where an embedder of long ago has none."""
        if not (folder / FILE).is_file():
            raise BadInput(
                f"The former network says nothing of its classes. Expected {FILE} in {folder}. "
                f'Set train.start = "scratch" for one training.'
            )
        held = json.loads((folder / FILE).read_bytes())
        return cls(
            held["pixel_spec"],
            Taxonomy.from_json(json.dumps(held["taxonomy"])),
            {name: tuple(values) for name, values in held["attributes"].items()},
            {name: tuple(counts) for name, counts in held["photos"].items()},
        )

    def after(self, former: "Classes") -> dict[str, Head]:
        """By layer, how the classes of `former` became these."""
        heads = {LEAF: (former.taxonomy, self.taxonomy)}
        for name, values in self.attributes.items():
            if name in former.attributes:
                heads[PREFIX + name] = Taxonomy(former.attributes[name]), Taxonomy(values)
        return {
            layer: Head(was, now, np.array(former.photos[layer]), np.array(self.photos[layer]))
            for layer, (was, now) in heads.items()
        }


def _counts(ids: npt.NDArray[np.int32], classes: int) -> tuple[int, ...]:
    return tuple(np.bincount(ids[ids != UNKNOWN], minlength=classes).tolist())
