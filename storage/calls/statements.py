"""Statements that write calls and their tokens, built once.

Building a statement takes longer than SQLite takes to run it, and leaves cyclic garbage for the interpreter to collect.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.calls.call_row import STATE_CODES, CallState
from storage.database.schema import call_tokens, calls, days, holds

_KEPT = ("id", "hold", "version")  # not overwritten when a known call is written again


def upsert(dialect: str, *, several: bool = False) -> Any:
    """Return the statement that inserts or updates a call; a finished call does not go back to recording.

    `several`: with several nodes, only its own node changes the row of a live call, and a call never changes its node.

    Parameters `b_id` and `b_hold`: a call that the index had lost is inserted as held if its hold remains.
    """
    held = sa.exists().where(holds.c.call == sa.bindparam("b_id"))
    insert = _insert(dialect)(calls).values(hold=sa.or_(sa.bindparam("b_hold", type_=sa.Boolean), held))
    kept = (*_KEPT, "node") if several else _KEPT
    changed = {c.name: insert.excluded[c.name] for c in calls.c if c.name not in kept}
    recording = STATE_CODES[CallState.RECORDING]
    allowed = sa.or_(calls.c.state == recording, insert.excluded.state != recording)
    if several:
        allowed = sa.and_(allowed, sa.or_(calls.c.state != recording, calls.c.node == insert.excluded.node))
    return insert.on_conflict_do_update(
        index_elements=[calls.c.id], set_={**changed, "version": calls.c.version + 1}, where=allowed
    )


def add_tokens(dialect: str) -> Any:
    """Return the statement that inserts tokens, some of which may exist already."""
    return _insert(dialect)(call_tokens).on_conflict_do_nothing()


def _insert(dialect: str) -> Any:
    return postgresql.insert if dialect == "postgresql" else sqlite.insert


async def new_tokens(connection: AsyncConnection, found: Sequence[tuple[int, int, int]]) -> None:
    """Insert new tokens, each as (day, token, leaf); they must be sorted, as that is the order of the table's key.

    With SQLite they bypass SQLAlchemy: a call has twenty tokens, and SQLAlchemy takes longer to process one than SQLite
    takes to write it.
    """
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql(_TOKENS_OF_SQLITE, list(found))
    else:
        await connection.execute(_NEW_TOKENS, [dict(zip(("day", "token", "leaf"), one, strict=True)) for one in found])


INDEX_LEAVES = sa.select(days.c.day, days.c.leaf).where(days.c.day.in_(sa.bindparam("days", expanding=True)))
COUNT = days.update().where(days.c.day == sa.bindparam("b_day")).values(calls=days.c.calls + sa.bindparam("b_more"))
_NEW_TOKENS = call_tokens.insert()
_TOKENS_OF_SQLITE = "INSERT INTO call_tokens (day, token, leaf) VALUES (?, ?, ?)"
DELETE_TOKEN = call_tokens.delete().where(
    call_tokens.c.day == sa.bindparam("b_day"),
    call_tokens.c.token == sa.bindparam("b_token"),
    call_tokens.c.leaf == sa.bindparam("b_leaf"),
)
AMEND = (
    calls.update()
    .where(calls.c.id == sa.bindparam("b_id"))
    .values(
        sealed=sa.bindparam("b_sealed"),
        erase_after=sa.bindparam("b_erase_after"),
        matched=True,
        version=calls.c.version + 1,
    )
)
