"""SQLite is asked in one trip a statement, and transactions are what they were."""

import asyncio
from typing import Any

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
def trips(loop: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An entry for each answer of the thread."""
    answered: list[str] = []
    answer = loop.get_loop().call_soon_threadsafe

    def noted(*given: Any, **more: Any) -> Any:
        answered.append("a trip")
        return answer(*given, **more)

    monkeypatch.setattr(loop.get_loop(), "call_soon_threadsafe", noted)
    return answered


async def test_a_question_costs_one_trip_and_its_end_another(database: Database, trips: list[str]) -> None:
    async with database.reading() as connection:
        await connection.execute(sa.select(days))  # learns the dialect, opens a connection
    trips.clear()
    async with database.reading() as connection:
        assert (await connection.execute(sa.select(days))).all() == []
        assert (await connection.execute(sa.select(days))).first() is None
    assert len(trips) == 3, "two statements and the end"
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
    assert len(trips) == 4
    async with database.reading() as connection:
        found = (await connection.execute(sa.select(days))).one()
        assert tuple(found) == (1, 2, 4)


async def test_a_failed_transaction_is_rolled_back(database: Database) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="ours"):
            async with database.writing() as connection:
                await connection.execute(days.insert(), ROW)
                raise ValueError("ours")
    async with database.reading() as connection:
        with pytest.raises(sa.exc.OperationalError):
            await connection.execute(sa.text("SELECT nothing FROM nowhere"))
    async with database.writing() as connection:
        await connection.execute(days.insert(), ROW)


async def test_rows_are_not_fetched_one_by_one(database: Database) -> None:
    with pytest.raises(DatabaseFault):
        async with database.reading() as connection:
            await connection.stream(sa.select(days))
