"""SQLite is asked in one trip a statement, and transactions are what they were."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from storage.database.database import Database
from storage.database.engines import COMPILED
from storage.database.schema import days
from storage.errors import DatabaseFault

NOW = datetime(2026, 3, 1, tzinfo=UTC)
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


async def test_rows_are_not_fetched_one_by_one(database: Database) -> None:
    with pytest.raises(DatabaseFault):
        async with database.reading() as connection:
            await connection.stream(sa.select(days))


async def test_a_statement_is_compiled_once_for_all_customers(tmp_path: Path) -> None:
    compiled = []
    for name in ("acme", "beta"):
        folder = tmp_path / name
        folder.mkdir()
        database = await Database.open("sqlite", name, folder, NOW)
        async with database.writing() as connection:
            await connection.execute(days.insert(), ROW)
            assert (await connection.execute(sa.select(days))).one().leaf == 2
        await database.close()
        compiled.append(len(COMPILED))
    assert compiled[0] == compiled[1] > 0
