"""MLflow's database as it is before a shop's first run, made once a process.

MLflow walks through years of migrations for each new file, which costs 2 s of processor, and reads
all of them again for each file that it has not seen yet, which costs 0.2 s.
"""

import functools
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from mlflow.store.db import utils

from pipelines.settings import Settings
from pipelines.tracking import client


def put_empty_registry(root: Path) -> None:
    """As if MLflow had been asked for something below `root`."""
    read_migrations_once()
    root.mkdir(parents=True, exist_ok=True)
    (root / "mlflow.db").write_bytes(_empty())


def read_migrations_once() -> None:
    """From here on in this process; the newest one is a constant of the MLflow installed."""
    if not hasattr(utils._get_latest_schema_revision, "cache_info"):
        utils._get_latest_schema_revision = functools.cache(utils._get_latest_schema_revision)


@functools.cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(root=Path(folder))
        client(settings).search_experiments()
        with closing(sqlite3.connect(settings.root / "mlflow.db")) as database:
            return database.serialize()
