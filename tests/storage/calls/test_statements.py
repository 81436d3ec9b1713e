"""What is written of a call is written over only by what is newer; on both databases."""

from typing import Any

import sqlalchemy as sa

from storage.calls import statements
from storage.calls.call_row import STATE_CODES, CallState
from storage.database.database import Database
from storage.database.schema import call_tokens, calls, days

ROW: dict[str, Any] = {
    "id": "1", "leaf": 5, "day": 1, "state": STATE_CODES[CallState.COMPLETE], "started_at": 1, "ended_at": 2,
    "duration_ms": 1, "size_bytes": 1, "hold": True, "erase_after": None, "matched": False, "kept_from": None,
    "direction": 0, "source": 0, "version": 1, "sealed": b"",
}  # fmt: skip


async def test_a_known_call_keeps_its_hold_and_its_final_state(database: Database) -> None:
    statement = statements.upsert(database.dialect)
    async with database.writing() as connection:
        await connection.execute(statement, [ROW])
        await connection.execute(statement, [{**ROW, "hold": False, "size_bytes": 7}])
        await connection.execute(statement, [{**ROW, "state": STATE_CODES[CallState.RECORDING], "size_bytes": 9}])
        found = (await connection.execute(sa.select(calls))).one()
        assert (found.hold, found.size_bytes, found.version) == (True, 7, 2)


async def test_a_call_that_goes_on_is_written_over_while_it_does(database: Database) -> None:
    statement = statements.upsert(database.dialect)
    live = {**ROW, "state": STATE_CODES[CallState.RECORDING], "ended_at": None}
    async with database.writing() as connection:
        for row in (live, {**live, "size_bytes": 7}, {**ROW, "size_bytes": 9}):
            await connection.execute(statement, [row])
            found = (await connection.execute(sa.select(calls))).one()
            assert (found.state, found.size_bytes) == (row["state"], row["size_bytes"])


async def test_a_call_whose_people_became_known_is_amended_alone(database: Database) -> None:
    rows = [{**ROW, "id": id, "leaf": int(id)} for id in "123"]
    async with database.writing() as connection:
        await connection.execute(statements.upsert(database.dialect), rows)
        await connection.execute(statements.AMEND, [{"b_id": "2", "b_sealed": b"new", "b_erase_after": 9}])
        found = await connection.execute(sa.select(calls).order_by(calls.c.id))
        told = [(row.matched, row.version, row.sealed, row.erase_after) for row in found]
        assert told == [(False, 1, b"", None), (True, 2, b"new", 9), (False, 1, b"", None)]


async def test_one_day_is_counted_and_its_leaf_found(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(days.insert(), [{"day": day, "leaf": 10 + day, "calls": 1} for day in (1, 2)])
        await connection.execute(statements.COUNT, {"b_day": 2, "b_more": 4})
        found = await connection.execute(statements.INDEX_LEAVES, {"days": [2, 3]})
        assert [tuple(row) for row in found] == [(2, 12)]
        assert list(await connection.scalars(sa.select(days.c.calls).order_by(days.c.day))) == [1, 5]


async def test_new_tokens_are_written_as_they_are(database: Database) -> None:
    tokens = [(20_000, -(2**63), 7), (20_000, 5, 2**47), (20_001, 2**63 - 1, 1)]
    async with database.writing() as connection:
        await statements.new_tokens(connection, tokens)
        found = await connection.execute(sa.select(call_tokens.c.day, call_tokens.c.token, call_tokens.c.leaf))
        assert sorted(tuple(row) for row in found) == tokens


async def test_a_token_may_be_added_twice_and_is_deleted_alone(database: Database) -> None:
    keys = [(day, token, leaf) for day in (1, 2, 3) for token in (1, 2, 3) for leaf in (4, 5, 6)]
    tokens = [{"day": day, "token": token, "leaf": leaf} for day, token, leaf in keys]
    async with database.writing() as connection:
        await statements.new_tokens(connection, keys[:5])
        await connection.execute(statements.add_tokens(database.dialect), tokens)
        await connection.execute(statements.DELETE_TOKEN, {"b_day": 2, "b_token": 2, "b_leaf": 5})
        found = await connection.execute(sa.select(call_tokens.c.day, call_tokens.c.token, call_tokens.c.leaf))
        assert sorted(tuple(row) for row in found) == [key for key in keys if key != (2, 2, 5)]
