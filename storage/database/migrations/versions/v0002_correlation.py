"""Matching of calls with directory users: calls still to be matched, and since when each directory is known."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

FROM_THE_NEWEST = 1 << 62
"""Above every leaf."""


def upgrade() -> None:
    op.add_column("calls", sa.Column("matched", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.create_index(
        "calls_unmatched",
        "calls",
        ["leaf"],
        unique=False,
        sqlite_where=sa.text("matched = 0"),
        postgresql_where=sa.text("NOT matched"),
    )
    op.create_index("users_state", "users", ["state", "id"], unique=False)
    op.create_table(
        "user_changes",
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("n"),
        sqlite_autoincrement=True,
    )
    op.create_index("user_changes_open", "user_changes", ["open", "n"], unique=False)
    op.create_table(
        "matching",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("walk", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "directories",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )
    # Existing calls were never matched; if there are no users, there is nobody to match them with.
    some = sa.text("INSERT INTO matching (id, walk) SELECT 1, :above WHERE EXISTS (SELECT 1 FROM users)")
    op.get_bind().execute(some, {"above": FROM_THE_NEWEST})
