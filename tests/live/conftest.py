"""A live store in SQLite and in PostgreSQL; one server for all."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, make_url, text
from tiny_postgres import is_missing, postgres

from serving.live_store import LiveStore


@pytest.fixture(scope="package")
def server() -> Iterator[str]:
    if is_missing():
        pytest.skip(f"no PostgreSQL here: {is_missing()}")
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/live.db"
    server: str = request.getfixturevalue("server")
    name = f"t{uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(server).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[LiveStore]:
    with closing(LiveStore.open(url, tmp_path / "live")) as store:
        yield store


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[LiveStore]:
    with closing(LiveStore.open(f"sqlite:///{tmp_path}/live.db", tmp_path / "live")) as store:
        yield store
