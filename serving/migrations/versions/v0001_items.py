"""The tables of the first live store."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    counter = op.create_table(
        "counter",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(counter, [{"id": 1, "sequence": 0}])
    op.create_table(
        "items",
        sa.Column("item_id", sa.String(256), primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("item", sa.Text),
        sa.Column("photo", sa.String(64)),
        sa.Column("photo_sequence", sa.BigInteger),
        sa.Column("photo_at", sa.DateTime(timezone=True)),
    )
    op.create_index("items_by_sequence", "items", ["sequence"], unique=True)
    op.create_index("items_by_photo", "items", ["photo"])
    op.create_table(
        "vectors",
        sa.Column("photo", sa.String(64), primary_key=True),
        sa.Column("space_id", sa.String(64), primary_key=True),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    for table in ("vectors", "items", "counter"):
        op.drop_table(table)
