"""What is damaged or cut of the index is made anew, and nothing else is; on both databases."""

import dataclasses

import sqlalchemy as sa

from storage.calls.call_index import Calls
from storage.calls.call_row import CallState, Query
from storage.calls.search_tokens import tokens
from storage.database.database import Database
from storage.database.schema import call_tokens
from storage.database.schema import calls as calls_table
from storage.keys.key_store import CustomerKeys
from tests.storage.calls.test_call_index import BODO, DAY, call, forms, put


async def test_a_damaged_row_is_repaired_by_the_next_write(
    calls: Calls, database: Database, keys: CustomerKeys
) -> None:
    live, other = call(keys, second=1, state=CallState.RECORDING), call(keys, second=2)
    await put(calls, live)
    async with database.writing() as connection:
        damaged = calls_table.c.id == live.id
        await connection.execute(calls_table.update().where(damaged).values(sealed=b"x" * 40))
    parties = {"session_id": "s", "parties": [BODO], "streams": []}
    ended = dataclasses.replace(live, state=CallState.COMPLETE, ended_at=live.started_at, details=parties)
    assert await put(calls, other, ended) == 2
    assert (await calls.find(Query(party="Bodo"))).items == (other, ended)
    assert (await calls.find(Query(party="Mira"))).items == (other,)
    key = keys.secret(await calls.index_leaf(DAY) or 0, "index")
    async with database.reading() as connection:
        mine = sa.select(call_tokens.c.token).where(call_tokens.c.leaf == ended.leaf)
        assert set(await connection.scalars(mine)) == set(tokens(key, forms(ended)))


async def test_a_key_of_a_day_that_was_not_cut_is_not_replaced(
    calls: Calls, database: Database, keys: CustomerKeys
) -> None:
    """Nobody would know it any more, and so never cut it: what it opens in a copy of now could be asked for ever."""
    await put(calls, call(keys))
    before = await calls.index_leaf(DAY)
    assert await calls.reindex(DAY) is None
    assert await calls.index_leaf(DAY) == before
    assert await calls.reindex(DAY + 1) is None
