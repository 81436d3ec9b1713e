"""Several nodes on one database: registry, cuts, jobs, sessions, shared files, journals, audit logs."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("nodes", sa.Column("state", sa.Text(), server_default="active", nullable=False))
    op.add_column("nodes", sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("nodes", sa.Column("indexed_until", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("nodes", sa.Column("asked", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("nodes", sa.Column("seq", sa.BigInteger(), server_default="0", nullable=False))
    op.create_table(
        "cuts",
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("line", sa.LargeBinary(), nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.Column("removed", sa.SmallInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("n"),
        sa.UniqueConstraint("id"),
    )
    of_holders, unremoved = sa.text("kind <> 'cut'"), sa.text("removed < 2")
    op.create_index(
        "cuts_of_holders", "cuts", ["n"], unique=False, sqlite_where=of_holders, postgresql_where=of_holders
    )
    op.create_index("cuts_unremoved", "cuts", ["n"], unique=False, sqlite_where=unremoved, postgresql_where=unremoved)
    op.create_table(
        "cut_erasures",
        sa.Column("erasure", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("erasure", "line"),
    )
    op.create_table(
        "cut_acknowledgements",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.Column("tree", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("node"),
    )
    op.create_table(
        "job_leases",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("owner", sa.SmallInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job"),
    )
    op.create_table(
        "shared_files",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "page_sessions",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("page_sessions_ends_at", "page_sessions", ["ends_at"], unique=False)
    op.create_table(
        "audit_copies",
        sa.Column("node", sa.SmallInteger(), nullable=False),
        sa.Column("course", sa.SmallInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.LargeBinary(), nullable=False),
        sa.Column("mark", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("node", "course", "n"),
    )
    op.create_index("audit_copies_at", "audit_copies", ["at", "node", "course", "n"], unique=False)
    op.execute("ALTER TABLE journal_mark RENAME COLUMN id TO node")
    op.execute("UPDATE journal_mark SET node = 0")  # the mark of the only node there was
    op.add_column("journal_mark", sa.Column("label", sa.Text(), server_default="", nullable=False))
    for name in ("known", "spare", "place"):
        op.add_column("journal_mark", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    op.create_table(
        "journal_rows",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("node", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "key"),
    )
    op.create_index("journal_rows_node", "journal_rows", ["node"], unique=False)
    op.add_column("calls", sa.Column("session", sa.BigInteger(), nullable=True))
    op.add_column("erasure_calls", sa.Column("session", sa.BigInteger(), nullable=True))
    has = sa.text("session IS NOT NULL")
    op.create_index(
        "erasure_calls_session", "erasure_calls", ["session"], unique=False, sqlite_where=has, postgresql_where=has
    )
    op.create_index("calls_session", "calls", ["session"], unique=False, sqlite_where=has, postgresql_where=has)
