"""The clock of the database, which all nodes share, because the clocks of nodes may differ."""

import sqlalchemy as sa

MICROS = 1_000_000
NOW = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * MICROS, sa.BigInteger)
"""Microseconds since 1970-01-01 UTC."""
