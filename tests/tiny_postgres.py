"""A PostgreSQL of one test run, on a socket in a folder of its own; none without its programs."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PLACES = (*Path("/usr/lib/postgresql").glob("*/bin"), *map(Path, os.get_exec_path()))


def program(name: str) -> str | None:
    return next((str(place / name) for place in PLACES if (place / name).is_file()), None)


def is_missing() -> str:
    """What a PostgreSQL would need here; empty if nothing."""
    lacks = [name for name in ("initdb", "pg_ctl", "postgres") if program(name) is None]
    lacks += [name for name in ("psycopg",) if importlib.util.find_spec(name) is None]
    return ", ".join(lacks)


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of its empty database."""
    folder = tempfile.mkdtemp(prefix="pg", dir="/tmp")  # the path of a socket must be short
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    if user:
        shutil.chown(folder, user)

    def run(name: str, *arguments: str) -> None:
        command = [str(program(name)), "-D", f"{folder}/data", *arguments]
        subprocess.run(
            command,
            check=True,
            user=user,
            cwd=folder,
            env={"LC_ALL": "C"},
            stdout=subprocess.DEVNULL,
        )

    run("initdb", "-A", "trust", "-U", "lookalike", "-E", "UTF8")
    run("pg_ctl", "-w", "-l", f"{folder}/log", "-o", f"-k {folder} -h ''", "start")
    try:
        yield f"postgresql+psycopg://lookalike@/postgres?host={folder}"
    finally:
        run("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)
