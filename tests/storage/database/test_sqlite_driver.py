"""SQLite is asked in one trip a statement, and transactions are what they were."""

import asyncio
from typing import Any

import aiosqlite
import pytest
import sqlalchemy as sa

from storage.database.database import Database
from storage.database.schema import days
from storage.errors import DatabaseFault

ROW = {"day": 1, "leaf": 2, "calls": 3}


@pytest.fixture
def url() -> str:
    """Only this database."""
    return "sqlite"


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the thread."""
    asked: list[str] = []
    execute = aiosqlite.Connection._execute

    async def noted(self: aiosqlite.Connection, work: Any, *given: Any, **more: Any) -> Any:
        asked.append(work.__name__)
        return await execute(self, work, *given, **more)  # type: ignore[no-untyped-call]  # aiosqlite has no types here

    monkeypatch.setattr(aiosqlite.Connection, "_execute", noted)
    return asked


async def test_a_question_costs_one_trip_and_its_end_another(database: Database, trips: list[str]) -> None:
    async with database.reading() as connection:
        await connection.execute(sa.select(days))  # learns the dialect, opens a connection
    trips.clear()
    async with database.reading() as connection:
        assert (await connection.execute(sa.select(days))).all() == []
        assert (await connection.execute(sa.select(days))).first() is None
    assert trips == ["_execute", "_execute", "commit"]
    trips.clear()
    async with database.reading():
        pass
    assert trips == []


async def test_written_rows_are_counted_and_stored(database: Database, trips: list[str]) -> None:
    trips.clear()
    async with database.writing() as connection:
        await connection.execute(days.insert(), [ROW, {**ROW, "day": 2}])
        assert (await connection.execute(days.update().values(calls=4))).rowcount == 2
        told = await connection.execute(days.delete().where(days.c.day == 2).returning(days.c.leaf))
        assert told.all() == [(2,)]
    assert trips == ["_execute", "_execute", "_execute", "commit"]
    async with database.reading() as connection:
        found = (await connection.execute(sa.select(days))).one()
        assert found._mapping == {**ROW, "calls": 4}


async def test_a_transaction_sees_one_state_from_its_first_query(database: Database) -> None:
    count = sa.select(sa.func.count()).select_from(days)
    async with database.reading() as connection:
        assert await connection.scalar(count) == 0
        async with database.writing() as other:
            await other.execute(days.insert(), ROW)
        assert await connection.scalar(count) == 0
    async with database.reading() as connection:
        assert await connection.scalar(count) == 1


async def test_a_failed_transaction_is_rolled_back(database: Database) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="ours"):
            async with database.writing() as connection:
                await connection.execute(days.insert(), ROW)
                raise ValueError("ours")
    with pytest.raises(DatabaseFault, match="IntegrityError"):
        async with database.writing() as connection:
            await connection.execute(days.insert(), ROW)
            await connection.execute(days.insert(), ROW)
    async with database.reading() as connection:
        with pytest.raises(sa.exc.OperationalError):
            await connection.execute(sa.text("SELECT nothing FROM nowhere"))
    async with database.writing() as connection:
        await connection.execute(days.insert(), ROW)


async def test_a_cancelled_task_leaves_no_transaction_open(database: Database) -> None:
    async def ask() -> None:
        async with database.writing() as connection:
            await connection.execute(days.insert(), ROW)
            await connection.execute(sa.text(_LONG))

    task = asyncio.create_task(ask())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.writing() as connection:
        await connection.execute(days.insert(), ROW)


async def test_rows_are_not_fetched_one_by_one(database: Database) -> None:
    with pytest.raises(DatabaseFault):
        async with database.reading() as connection:
            await connection.stream(sa.select(days))


_LONG = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT max(i) FROM n"
