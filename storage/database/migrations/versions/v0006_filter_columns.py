"""Columns to filter calls by hold, direction and source; calls.filter_columns.fill fills those of existing calls."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("calls", sa.Column("direction", sa.SmallInteger(), nullable=True))
    op.add_column("calls", sa.Column("source", sa.BigInteger(), nullable=True))
    newest = ["day", "started_at", "id"]
    held, untold = sa.text("hold"), sa.text("direction IS NULL")
    op.create_index(
        "calls_held", "calls", newest, unique=False, sqlite_where=sa.text("hold = 1"), postgresql_where=held
    )
    op.create_index("calls_direction", "calls", ["direction", *newest], unique=False)
    op.create_index("calls_source", "calls", ["source", *newest, "direction"], unique=False)
    op.create_index("calls_untold", "calls", ["leaf"], unique=False, sqlite_where=untold, postgresql_where=untold)
