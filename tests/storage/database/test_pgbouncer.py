"""Behind PgBouncer, which gives each transaction another connection of the server, everything is as without it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from personal import Personal
from storage.calls.call_row import Query
from storage.database import engines
from storage.database.database import Database, DatabaseAway
from storage.database.schema import days
from storage.errors import StorageError
from tests.daemon.pgbouncer import PgBouncer, pgbouncer
from tests.daemon.postgresql import Cluster, cluster
from tests.in_process.storage_node import NOON, StorageNode, emptied, finish, permit, record

pytestmark = pytest.mark.system
AGAIN = 200
"""Tries of 0.05 s."""


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as one:
        one.start()
        yield one


@pytest.fixture(
    scope="module",
    params=["", "ignore_startup_parameters = jit", "max_prepared_statements = 100"],
    ids=["as it comes", "jit taken and ignored", "statements kept"],
)
def between(server: Cluster, request: pytest.FixtureRequest) -> Iterator[PgBouncer]:
    with pgbouncer(server, request.param) as one:
        yield one


async def opened(url: str, folder: Path) -> Database:
    return await Database.open(url, "pooled", folder, NOON)


async def settings(connection: AsyncConnection) -> tuple[str, str, int]:
    jit, isolation = [await connection.scalar(sa.text(f"SHOW {n}")) for n in ("jit", "transaction_isolation")]
    return str(jit), str(isolation), int(await connection.scalar(sa.text("SELECT pg_backend_pid()")))


async def test_each_transaction_has_its_settings_on_any_connection(between: PgBouncer, tmp_path: Path) -> None:
    database = await opened(between.url, tmp_path)
    async with database.reading() as one, database.reading() as other:
        assert (await settings(one))[:2] == (await settings(other))[:2] == ("off", "repeatable read")
        assert (await settings(one))[2] != (await settings(other))[2]

    async def read() -> None:
        for _ in range(25):
            async with database.reading() as connection:
                assert (await settings(connection))[:2] == ("off", "repeatable read")

    async def write(day: int) -> None:
        for number in range(25):
            async with database.writing() as connection:
                assert (await settings(connection))[0] == "off"
                await connection.execute(days.insert(), {"day": 100 * day + number, "leaf": day, "calls": 1})
                await connection.execute(days.delete().where(days.c.day == 100 * day + number))

    await asyncio.gather(read(), read(), write(1), write(2), read())
    await database.close()


async def test_two_processes_take_turns_in_writing(between: PgBouncer, server: Cluster, tmp_path: Path) -> None:
    """One of them past PgBouncer."""
    one, two = await emptied(between.url, "pooled", tmp_path), await opened(server.url, tmp_path)

    async def add(database: Database) -> None:
        for _ in range(20):
            async with database.writing() as connection:
                known = await connection.scalar(sa.select(days.c.calls).where(days.c.day == 1))
                await connection.execute(days.delete().where(days.c.day == 1))
                await connection.execute(days.insert(), {"day": 1, "leaf": 1, "calls": (known or 0) + 1})

    await asyncio.gather(add(one), add(two), add(one), add(two))
    async with one.reading() as connection:
        assert await connection.scalar(sa.select(days.c.calls).where(days.c.day == 1)) == 80
    for database in (one, two):
        await database.close()


async def test_calls_are_found_and_erased_in_a_recreated_database(
    between: PgBouncer, server: Cluster, tmp_path: Path
) -> None:
    server.ask("postgres", "DROP DATABASE IF EXISTS recorder_acme WITH (FORCE)")
    node = StorageNode(tmp_path / "data", database=between.url)
    async with node.opened() as acme:
        await permit(acme)
        rows = [await record(acme, name=f"Mira {n}") for n in range(8)]
        found = await asyncio.gather(*(acme.calls.find(Query(party=Personal(f"Mira {n}"))) for n in range(8)))
        assert [page.items[0].id for page in found] == [row.id for row in rows]
        await finish(acme, calls=[rows[0].id])
        assert await acme.calls.get(rows[0].id) is None and await acme.calls.count() == 7


async def test_a_slow_statement_is_given_up_and_frees_its_connection(
    between: PgBouncer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await opened(between.url, tmp_path)
    await database.close()
    monkeypatch.setattr(engines, "COMMAND_SECONDS", 2.0)  # the last, good statement has no more
    database = Database(between.url, "pooled", tmp_path)
    database.serve()
    for _ in range(3):  # one more than PgBouncer has connections
        with pytest.raises(DatabaseAway):
            async with asyncio.timeout(30), database.reading() as connection:
                await connection.execute(sa.text("SELECT pg_sleep(1000)"))
    async with asyncio.timeout(30), database.reading() as connection:
        assert await connection.scalar(sa.text("SELECT 1")) == 1
    await database.close()


async def test_a_restarted_server_or_pgbouncer_is_used_again(
    between: PgBouncer, server: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "COMMAND_SECONDS", 10.0)
    database = await emptied(between.url, "pooled", tmp_path)

    async def count() -> int:
        async with database.reading() as connection:
            return int(await connection.scalar(sa.select(sa.func.count()).select_from(days)) or 0)

    async def again() -> int:
        for _ in range(AGAIN):
            try:
                return await count()
            except StorageError as problem:
                assert isinstance(problem, DatabaseAway)
                await asyncio.sleep(0.05)
        raise TimeoutError

    for one in (server, between):
        async with database.writing() as connection:
            await connection.execute(days.insert(), {"day": 1, "leaf": 1, "calls": 1})
        assert await count() == 1
        with pytest.raises(DatabaseAway):
            async with database.writing() as connection:
                await connection.execute(days.delete())
                await asyncio.to_thread(one.stop)
        with pytest.raises(DatabaseAway):
            async with asyncio.timeout(20):
                await count()
        await asyncio.to_thread(one.start)
        assert await again() == 1  # and what was not committed is not there
        async with database.writing() as connection:
            await connection.execute(days.delete())
    await database.close()
