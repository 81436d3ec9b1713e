"""A database is opened fast, belongs to one customer, commits all or nothing, and its errors hold no values."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine

from storage.database.database import FILE_NAME, Database, DatabaseAway, DatabaseDamaged, unless_committed
from storage.database.schema import days
from storage.errors import DatabaseFault

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SECRET = "MiraCanary"


async def test_opening_again_changes_nothing(url: str, tmp_path: Path) -> None:
    for _ in range(2):
        database = await Database.open(url, "again", tmp_path, NOW)
        async with database.writing() as connection:
            rows = (await connection.execute(sa.select(days.c.day))).all()
            await connection.execute(days.insert(), {"day": len(rows), "leaf": 1, "calls": 1})
        await database.close()
    assert len(rows) == 1


@pytest.fixture
def sqlite(tmp_path: Path, loop: asyncio.Runner) -> Iterator[Database]:
    """An empty database in a file."""
    opened = loop.run(Database.open("sqlite", "acme", tmp_path, NOW))
    yield opened
    loop.run(opened.close())


def changed(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as raw, raw:
        raw.execute(statement)


@pytest.mark.parametrize(
    ("harm", "customer", "match"),
    [
        (lambda file: None, "beta", "another customer"),
        (lambda file: changed(file, "UPDATE alembic_version SET version_num = 'future'"), "acme", "does not know"),
        (lambda file: file.write_bytes(b"certainly no database" * 500), "acme", None),
        (lambda file: (file.unlink(), changed(file, "CREATE TABLE theirs (x)")), "acme", "another program"),
    ],
)
async def test_a_database_that_is_not_ours_is_refused_with_a_hint(
    tmp_path: Path, harm: Callable[[Path], object], customer: str, match: str | None
) -> None:
    await (await Database.open("sqlite", "acme", tmp_path, NOW)).close()
    harm(tmp_path / FILE_NAME)
    with pytest.raises(DatabaseDamaged, match=match) as caught:
        await Database.open("sqlite", customer, tmp_path, NOW)
    assert caught.value.hint


async def test_a_failed_transaction_leaves_nothing(database: Database) -> None:

    with pytest.raises(DatabaseFault, match=r"IntegrityError|23505"):
        async with database.writing() as connection:
            await connection.execute(days.insert(), {"day": 1, "leaf": 1, "calls": 1})
            await connection.execute(days.insert(), {"day": 1, "leaf": 1, "calls": 1})
    async with database.reading() as connection:
        assert (await connection.execute(sa.select(days))).all() == []


async def test_a_reader_sees_one_state_despite_writers(database: Database) -> None:
    count = sa.select(sa.func.count()).select_from(days)
    async with database.reading() as reader:
        before = await reader.scalar(count) or 0
        async with database.writing() as connection:
            await connection.execute(days.insert(), {"day": before, "leaf": 1, "calls": 1})
        assert await reader.scalar(count) == before
    async with database.reading() as reader:
        assert await reader.scalar(count) == before + 1


async def test_a_task_that_is_cancelled_leaves_no_lock(sqlite: Database, tmp_path: Path) -> None:

    async def write() -> None:
        async with sqlite.writing() as connection:
            await connection.execute(days.insert(), [{"day": day, "leaf": 1, "calls": 1} for day in range(9)])
            statement = connection.sync_connection
            event.listen(statement, "before_cursor_execute", lambda *_: loop.call_soon(task.cancel))
            await connection.execute(sa.select(days))

    loop = asyncio.get_running_loop()
    task = loop.create_task(write())
    with pytest.raises(asyncio.CancelledError) as kept:  # and with it what the statement was about to read
        await task
    other = sqlite3.connect(tmp_path / FILE_NAME, timeout=0, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.close()
    assert kept.value is not None
    async with sqlite.writing() as connection:
        assert (await connection.execute(sa.select(days))).all() == []


async def test_an_undo_runs_before_other_writers_unless_committed(database: Database) -> None:
    done: list[str] = []

    async def write(name: str, problem: Exception | None = None) -> None:
        async def undo(what: str) -> None:
            await asyncio.sleep(0)
            done.append(what)

        async with database.writing():
            done.append(name)
            unless_committed(partial(undo, f"{name}, second"))
            unless_committed(partial(undo, f"{name}, first"))
            await asyncio.sleep(0.01)
            if problem is not None:
                raise problem

    failing = write("one", RuntimeError("no"))
    found = await asyncio.gather(failing, write("two"), return_exceptions=True)
    assert isinstance(found[0], RuntimeError) and found[1] is None
    assert done == ["one", "one, first", "one, second", "two"]

    def refuse(_: sa.Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    done.clear()
    sa.event.listen(sa.Engine, "commit", refuse)
    with pytest.raises(DatabaseAway):
        await write("three")
    sa.event.remove(sa.Engine, "commit", refuse)
    undone = ["three, first", "three, second"] if database.dialect == "sqlite" else []
    assert done == ["three", *undone], "whether a server has committed is not known"
    unless_committed(partial(write, "outside of any"))  # has no meaning


async def test_writers_wait_for_each_other_and_readers_do_not(database: Database) -> None:

    async def add(day: int) -> None:
        async with database.writing() as connection:
            await connection.execute(days.insert(), {"day": day, "leaf": day, "calls": 1})

    async with database.writing() as connection:
        await connection.execute(days.insert(), {"day": 0, "leaf": 0, "calls": 1})
        others = asyncio.gather(*(add(day) for day in range(1, 9)))
        async with database.reading() as reader:
            assert (await reader.execute(sa.select(days))).all() == []
    await others
    async with database.reading() as reader:
        assert len((await reader.execute(sa.select(days))).all()) == 9


async def test_no_error_holds_a_value(database: Database) -> None:
    with pytest.raises(DatabaseFault) as caught:
        async with database.writing() as connection:
            await connection.execute(sa.text("INSERT INTO nowhere VALUES (:x)"), {"x": SECRET})
    error = caught.value
    assert error.__cause__ is None and error.__suppress_context__
    assert SECRET not in "".join(traceback.format_exception(error)) + str(error) + error.hint


async def test_a_server_or_folder_that_is_not_there_is_away(tmp_path: Path) -> None:
    for place in ("rec@127.0.0.1:1/recorder_{customer}", f"rec@/recorder_{{customer}}?host={tmp_path}"):
        with pytest.raises(DatabaseAway):
            await Database.open(f"postgresql+asyncpg://{place}", "acme", tmp_path, NOW)
    with pytest.raises(DatabaseAway, match="cannot be opened"):
        await Database.open("sqlite", "acme", tmp_path / "missing", NOW)


async def test_a_broken_connection_is_away_and_the_next_one_works(postgresql: str, tmp_path: Path) -> None:
    database = await Database.open(postgresql, "acme", tmp_path, NOW)
    end_all = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'recorder_acme'")

    with pytest.raises(DatabaseAway):
        async with database.writing() as connection:
            await connection.execute(end_all)
    async with database.reading() as connection:
        assert await connection.scalar(sa.text("SELECT 1")) == 1
    await database.close()


async def test_a_removed_database_leaves_nothing_on_its_server(postgresql: str, tmp_path: Path) -> None:
    there = sa.text("SELECT count(*) FROM pg_database WHERE datname = 'recorder_leaver'")
    tables = sa.text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    database = await Database.open(postgresql, "leaver", tmp_path, NOW)
    other = create_async_engine(postgresql.format(customer="leaver"))  # as long as it is connected nobody can drop it
    async with other.connect() as connection:
        await database.remove()
        assert (await connection.scalar(there), await connection.scalar(tables)) == (1, 0)
    await other.dispose()
    await database.remove()
    await database.remove()
    await database.close()
    postgres = create_async_engine(postgresql.replace("recorder_{customer}", "postgres"))
    async with postgres.connect() as connection:
        assert await connection.scalar(there) == 0
    await postgres.dispose()


async def test_opening_a_new_file_waits_for_another_process(tmp_path: Path) -> None:
    """The other process is about to turn on the log, too; SQLite would answer "locked" at once."""
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    opening = asyncio.create_task(Database.open("sqlite", "acme", tmp_path, NOW))
    await asyncio.sleep(0.2)
    other.close()
    await (await opening).close()


async def test_a_locked_database_is_away_and_then_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.database.engines.BUSY_SECONDS", 0.05)
    monkeypatch.setattr("storage.database.engines._PRAGMAS", ("PRAGMA busy_timeout=50",))
    database = await Database.open("sqlite", "acme", tmp_path, NOW)
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseAway):
        async with database.writing() as connection:
            await connection.execute(sa.select(days))
    other.execute("ROLLBACK")
    other.close()
    async with database.writing() as connection:
        await connection.execute(days.insert(), {"day": 1, "leaf": 1, "calls": 1})
    await database.close()


async def test_sqlite_is_set_up_to_forget_and_to_survive(sqlite: Database, tmp_path: Path) -> None:
    wanted = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "temp_store": 2}
    async with sqlite.reading() as connection:
        for name, value in wanted.items():
            assert await connection.scalar(sa.text(f"PRAGMA {name}")) == value
    assert os.stat(tmp_path / FILE_NAME).st_mode & 0o777 == 0o600


def test_opening_needs_no_alembic() -> None:
    code = "import sys, storage.customer.customers; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_database_is_unavailable_until_it_is_prepared(tmp_path: Path) -> None:
    database = Database("sqlite", "acme", tmp_path)
    assert not (tmp_path / FILE_NAME).exists()
    for _ in range(2):
        for use in (database.reading, database.writing):
            with pytest.raises(DatabaseAway, match="not open yet"):
                async with use():
                    pass
        with pytest.raises(DatabaseAway):
            await database.scrub()
        await database.prepare(NOW)
        with database.opening():
            async with database.reading() as connection:
                assert await connection.scalar(sa.text("SELECT 1")) == 1
    assert not database.served
    database.serve()
    async with database.reading() as connection:
        assert await connection.scalar(sa.text("SELECT 1")) == 1
    await database.close()
