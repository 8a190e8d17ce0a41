"""What a real server on a bundle showed, kept by the bundle's digest under `blessings/`.

Not by its day: a day may have several bundles, as each refresh makes one, and any of them may wait
for its review.
"""

import json
from pathlib import Path
from typing import Any

from model.errors import Refused
from pipelines.settings import Settings
from serving.whole_file import write_atomically


def keep_blessing(settings: Settings, digest: str, record: dict[str, Any]) -> None:
    write_atomically(blessing_path(settings, digest), json.dumps(record, indent=1).encode())


def read_blessing(settings: Settings, digest: str) -> dict[str, Any]:
    """The record of this bundle. Raises Refused where a server has not blessed it."""
    try:
        record: dict[str, Any] = json.loads(blessing_path(settings, digest).read_bytes())
    except FileNotFoundError:
        raise Refused(
            f"No server has blessed bundle {digest}. Expected golden queries answered by it. "
            f"Run step `bless` of its day first."
        ) from None
    if not record["passed"]:
        raise Refused(
            f"A server did not bless bundle {digest}: {'; '.join(record['failures'])}. "
            f"Production is unchanged."
        )
    return record


def blessing_path(settings: Settings, digest: str) -> Path:
    return settings.root / "blessings" / f"{digest}.json"
