"""How SQLite and PostgreSQL are opened, and how long either is waited for.

SQLite is opened with
- WAL: readers never wait for the writer;
- synchronous=FULL: the calls could be rebuilt from the vault, but holds, waivers, rules and erasures in the same file
  could not, and an answered request must survive a power cut. Writes come in batches, so it costs one sync a batch;
- secure_delete=ON: what is deleted is overwritten, also in free pages;
- temp_store=MEMORY: no sorted copies in temporary files.
PostgreSQL is reached through asyncpg.
"""

import asyncio
import sqlite3
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from storage.database.sqlite_driver import Driver

BUSY_SECONDS = 5.0  # waits longer than any of our own transactions, shorter than an API client
CONNECT_SECONDS = 3.0  # a database that is away must be known as away before a call's checkpoint is due
COMMAND_SECONDS = 30.0  # a sweep of a customer's calls takes seconds
POOL_SIZE = 4  # the writer and three readers; each is a thread with SQLite
_PRAGMAS = (
    f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}",
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-8000",
)


def engine_of(place: URL) -> AsyncEngine:
    """Make the engine of the database at a URL; nothing is opened yet."""
    common: dict[str, Any] = {
        "hide_parameters": True,
        "pool_size": POOL_SIZE,
        "max_overflow": 0,
        "pool_timeout": COMMAND_SECONDS,
    }
    if place.get_backend_name() == "sqlite":
        engine = create_async_engine(place, connect_args={"timeout": BUSY_SECONDS}, module=Driver(), **common)
        event.listen(engine.sync_engine, "connect", _set_pragmas)
        event.listen(engine.sync_engine, "begin", _begin)
        event.listen(engine.sync_engine, "invalidate", _roll_back)
        return engine
    times = {"timeout": CONNECT_SECONDS, "command_timeout": COMMAND_SECONDS}
    return create_async_engine(place, connect_args=times, pool_pre_ping=True, **common)


def _set_pragmas(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves; the driver would begin too late
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()
    connection.run_async(_use_wal)


async def _use_wal(driver: Any) -> None:
    """Let readers work beside a writer. Of a file that has no log yet SQLite itself waits for no one else who reads."""
    clock = asyncio.get_running_loop().time
    patience = clock() + BUSY_SECONDS
    while True:
        try:
            await driver.execute_fetchall("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or clock() > patience:
                raise
            await asyncio.sleep(0.01)
        else:
            return


def _roll_back(connection: Any, _record: object, _error: object) -> None:
    """Let go of the locks of a task that was cancelled: what it was reading keeps SQLite's closing from doing so."""
    with suppress(Exception):  # it is thrown away in any case
        connection.rollback()


def _begin(connection: sa.Connection) -> None:
    """Take the write lock first of all: a reader that turns writer half-way would be refused instead of waiting."""
    driver: Any = connection.connection.dbapi_connection
    driver.begin_later(writing=connection.get_execution_options().get("writing", False))
