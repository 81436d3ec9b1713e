"""A column for the beginning of a call's retention, if the clock was set back before the call ended."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("calls", sa.Column("kept_from", sa.BigInteger(), nullable=True))
