"""Its tables, and databases that it refuses."""

import re
from contextlib import closing
from pathlib import Path

import pytest
from setuptools import find_namespace_packages
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.types import String
from tiny_postgres import is_missing

from live.sent import digest, item
from model.errors import BadInput, Damaged
from serving.live_database import connect, metadata
from serving.live_store import LiveStore

HERE = Path(__file__).parents[2]


def test_the_migrations_make_the_tables_that_the_code_uses(url: str) -> None:
    engine = connect(url)
    found = inspect(engine)
    for table in metadata.sorted_tables:
        columns = {column["name"]: column for column in found.get_columns(table.name)}
        assert set(columns) == set(table.columns.keys())
        for column in table.columns:
            made = columns[column.name]
            assert made["nullable"] == column.nullable
            if isinstance(column.type, String):
                assert getattr(made["type"], "length", None) == column.type.length
        indexes = {each["name"]: bool(each["unique"]) for each in found.get_indexes(table.name)}
        assert indexes == {index.name: index.unique for index in table.indexes}
        assert found.get_pk_constraint(table.name)["constrained_columns"] == [
            column.name for column in table.primary_key
        ]
    engine.dispose()


def test_opening_again_keeps_everything(url: str, tmp_path: Path) -> None:
    with closing(LiveStore.open(url, tmp_path / "live")) as store:
        change = store.put(item(), b"photo")
    with closing(LiveStore.open(url, tmp_path / "live")) as store:
        assert (store.since(0), store.photo(digest(b"photo"))) == ([change], b"photo")


def test_a_store_of_a_newer_version_is_refused(url: str, tmp_path: Path) -> None:
    LiveStore.open(url, tmp_path / "live").close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    engine.dispose()
    with pytest.raises(BadInput) as caught:
        LiveStore.open(url, tmp_path / "live")
    assert str(caught.value) == (
        f"The live store {url} was written by a newer version. Expected a schema of at most 0001. "
        f"Received: 0999. Update this installation, or name another store (live.url)."
    )


def test_the_migrations_are_installed() -> None:
    assert "serving.migrations.versions" in find_namespace_packages(str(HERE), include=["serving*"])
    assert (HERE / "serving" / "migrations" / "env.py").is_file()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://a:b@c/d", "Cannot use this live.url"),
        (
            "sqlite://",
            "Cannot use this live.url. Expected sqlite:///PATH or .* Received: sqlite://",
        ),
        ("live.db", "Cannot use this live.url: Could not parse SQLAlchemy URL"),
    ],
)
def test_other_databases_are_refused(url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=message):
        LiveStore.open(url, tmp_path)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "live.db").write_bytes(b"not a database" * 100)
    with pytest.raises(Damaged, match=re.escape(
        f"Cannot open the live store sqlite:///{tmp_path}/live.db: file is not a database. "
        f"Expected a sound database of this project."
    )):  # fmt: skip
        LiveStore.open(f"sqlite:///{tmp_path}/live.db", tmp_path / "live")


def test_a_database_without_a_server_is_said(tmp_path: Path) -> None:
    if is_missing():
        pytest.skip(f"no PostgreSQL here: {is_missing()}")
    with pytest.raises(OSError, match="^Cannot open the live store postgresql") as caught:
        LiveStore.open(f"postgresql+psycopg://u:secret@/x?host={tmp_path}", tmp_path / "live")
    assert "secret" not in str(caught.value)
