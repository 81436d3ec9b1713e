"""What is written of a call is written over only by what is newer; on both databases."""

from typing import Any

import sqlalchemy as sa

from storage.calls import statements
from storage.calls.call_row import STATE_CODES, CallState
from storage.database.database import Database
from storage.database.schema import calls

ROW: dict[str, Any] = {
    "id": "1", "leaf": 5, "day": 1, "state": STATE_CODES[CallState.COMPLETE], "started_at": 1, "ended_at": 2,
    "duration_ms": 1, "size_bytes": 1, "b_hold": True, "b_id": "1", "erase_after": None,
    "matched": False, "kept_from": None, "direction": 0, "source": 0, "version": 1, "sealed": b"",
}  # fmt: skip


async def test_a_known_call_keeps_its_hold_and_its_final_state(database: Database) -> None:
    upsert, live = statements.upsert(database.dialect), STATE_CODES[CallState.RECORDING]
    async with database.writing() as connection:
        for row, size in (
            ({**ROW, "state": live}, 1),
            ({**ROW, "state": live, "size_bytes": 5}, 5),
            ({**ROW, "b_hold": False, "size_bytes": 7}, 7),
            ({**ROW, "state": live, "size_bytes": 9}, 7),
        ):
            await connection.execute(upsert, [row])
            found = (await connection.execute(sa.select(calls))).one()
            assert (found.hold, found.size_bytes) == (True, size)
        assert (found.state, found.version) == (ROW["state"], 3)
