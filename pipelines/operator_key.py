"""The operator's key of a shop on one machine: made at the first start, in a file of its own.

`make up` and `make demo` make it. `lookalike serve` takes it when no key is set otherwise.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from pipelines.settings import Settings

FILE = "operator.key"  # under the root, one line `name:secret`, for its owner only


def make_operator_key(root: Path) -> Path:
    """The file with the key; a key that is there stays."""
    path = root / FILE
    if not path.exists():
        root.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=root, prefix=f".{FILE}-") as file:  # its mode is 0600
            file.write(f"operator:{secrets.token_urlsafe(32)}\n")
            file.flush()
            with suppress(FileExistsError):  # somebody else was first
                os.link(file.name, path)
    return path


def operator_keys(settings: Settings) -> str | None:
    """`name:secret,...` of the settings, else of the file; None where there is neither."""
    if settings.serve.operator_keys is not None:
        return settings.serve.operator_keys.get_secret_value()
    try:
        return (settings.root / FILE).read_text().strip()
    except FileNotFoundError:
        return None


def as_operator(settings: Settings) -> dict[str, str]:
    """Headers of a request to our server; none where no key is known."""
    keys = operator_keys(settings)
    if keys is None:
        return {}
    secret = keys.split(",")[0].strip().partition(":")[2]
    return {"Authorization": f"Bearer {secret}"}
