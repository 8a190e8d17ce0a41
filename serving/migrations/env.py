"""What Alembic runs to bring a live store to the tables of this version."""

from alembic import context

from serving.live_database import metadata


def migrate() -> None:
    """In the transaction of the connection that is given: all of it, or nothing."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata)
    context.run_migrations()


if __name__ == "env_py":  # the name under which Alembic loads this file
    migrate()
