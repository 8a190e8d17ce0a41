"""The tables of the live store, in SQLite or PostgreSQL.

    counter    one row: the sequence of the newest change
    items      one row an item that was changed: its newest state, and the sequence of its change
    vectors    float32 bytes of a photo in a space, so that a restart embeds nothing

Every change takes its sequence from the counter's row and holds that row until it is committed. So
sequences grow in the order of commits, and who has read up to one misses nothing below it.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.types import TypeDecorator

from model.errors import BadInput, Damaged

BUSY_SECONDS = 30  # that a write waits for those of other processes
MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 7_306_114_932  # any number that nobody else locks in this database
BEGINS = "lookalike_begins"  # execution option of a connection: how its transactions begin


class Moment(TypeDecorator[datetime]):
    """A time in UTC; SQLite itself keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()
counter = Table(
    "counter",
    metadata,
    Column("id", Integer, primary_key=True),  # 1
    Column("sequence", BigInteger, nullable=False),
)
items = Table(
    "items",
    metadata,
    Column("item_id", String(256), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("at", Moment, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("item", Text),  # JSON of serving.item.Item; null: deleted
    Column("photo", String(64)),  # SHA-256 of its bytes; null: not of this store
    Column("photo_sequence", BigInteger),  # of the change that brought the photo
    Column("photo_at", Moment),
    Index("items_by_sequence", "sequence", unique=True),
    Index("items_by_photo", "photo"),
)
vectors = Table(
    "vectors",
    metadata,
    Column("photo", String(64), primary_key=True),
    Column("space_id", String(64), primary_key=True),
    Column("vector", LargeBinary, nullable=False),  # float32, little-endian
)


def connect(url: str) -> Engine:
    """The database at `url` with the tables of this version.

    Raises BadInput for another kind of database, or one that a newer version has written.
    """
    engine = _engine(url)
    try:
        with failures(engine, "open"):
            if engine.dialect.name == "sqlite":
                _prepare_file(engine)
            with writing(engine) as connection:
                if engine.dialect.name == "postgresql":
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
                _migrate(connection)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes; committed, and on the disk, when the block ends."""
    with engine.connect() as connection:
        # What reads first and writes later could find in SQLite that it has read what is past.
        connection = connection.execution_options(**{BEGINS: "BEGIN IMMEDIATE"})
        with connection.begin():
            yield connection


def hold_counter(connection: Connection) -> int:
    """The newest sequence; until this transaction ends nobody else takes one."""
    held = select(counter.c.sequence).with_for_update()
    sequence: int = connection.execute(held).scalar_one()
    return sequence


@contextmanager
def failures(engine: Engine, verb: str) -> Iterator[None]:
    """What the database cannot do, as OSError or Damaged that says where and why."""
    place = engine.url.render_as_string(hide_password=True)
    try:
        yield
    except OperationalError as error:
        raise OSError(
            f"Cannot {verb} the live store {place}: {str(error.orig).strip()}. Nothing was "
            f"acknowledged. See to its disk, its rights or its server, and try again."
        ) from error
    except DatabaseError as error:
        raise Damaged(
            f"Cannot {verb} the live store {place}: {str(error.orig).strip()}. Expected a sound "
            f"database of this project. Restore it, or name another one (live.url)."
        ) from error


def _engine(url: str) -> Engine:
    try:
        engine = create_engine(url, pool_pre_ping=True)
    except (ArgumentError, ImportError) as error:
        raise BadInput(
            f"Cannot use this live.url: {error}. Expected sqlite:///PATH or "
            f"postgresql+psycopg://USER@HOST/NAME, with the package of its driver installed."
        ) from error
    if engine.dialect.name not in ("sqlite", "postgresql") or not engine.url.database:
        raise BadInput(
            f"Cannot use this live.url. Expected sqlite:///PATH or "
            f"postgresql+psycopg://USER@HOST/NAME. Received: {engine.url!r}."
        )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up)
        event.listen(engine, "begin", _begin)
    return engine


def _set_up(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # `_begin` says when a transaction begins, not the driver
    connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk, not under way


def _begin(connection: Connection) -> None:
    statement = connection.get_execution_options().get(BEGINS, "BEGIN")
    if statement:
        connection.exec_driver_sql(statement)


def _prepare_file(engine: Engine) -> None:
    """WAL, so that readers never wait. SQLite does not queue those who ask for it at once."""
    path = Path(str(engine.url.database))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with engine.connect().execution_options(**{BEGINS: ""}) as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")


def _migrate(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    known = {revision.revision for revision in script.walk_revisions()}
    found = set(MigrationContext.configure(connection).get_current_heads())
    if found - known:
        place = connection.engine.url.render_as_string(hide_password=True)
        raise BadInput(
            f"The live store {place} was written by a newer version. Expected a schema of at most "
            f"{script.get_current_head()}. Received: {', '.join(sorted(found - known))}. Update "
            f"this installation, or name another store (live.url)."
        )
    if found != {script.get_current_head()}:
        command.upgrade(config, "head")
