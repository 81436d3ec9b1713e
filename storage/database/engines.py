"""How SQLite and PostgreSQL are opened, and how long to wait for them.

SQLite is opened with
- WAL: readers never wait for the writer;
- synchronous=FULL: calls could be rebuilt from the vault, but holds, waivers, rules and erasures in the same file could
  not, and an answered request must survive a power cut. Writes come in batches, so this costs one sync for each batch;
- secure_delete=ON: deleted data are overwritten, also in free pages;
- temp_store=MEMORY: no sorted copies in temporary files.
PostgreSQL is reached through asyncpg, and does not compile statements. That is not set as a start-up parameter of the
connection, which PgBouncer refuses. A lock lasts as long as its transaction, for the same reason.
"""

import asyncio
import sqlite3
import sys
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from storage.database.sqlite_driver import Driver
from storage.errors import DriverMissing

BUSY_SECONDS = 5.0  # longer than any transaction of the recorder, shorter than an API client waits
CONNECT_SECONDS = 3.0  # an unreachable database must be noticed before a call's checkpoint is due
COMMAND_SECONDS = 30.0  # a sweep of a customer's calls takes seconds
POOL_SIZE = 4  # the writer and three readers; with SQLite, each has a thread
_NO_JIT = "SET jit = off"  # compiling a statement takes 0.1 s with ten million calls, and running it less
_LIBPQ = ("sslmode", "sslrootcert", "sslcrl", "sslcert", "sslkey")
"""Options of an address that asyncpg understands as libpq does, but in an address only."""
_PRAGMAS = (
    f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}",
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-8000",
)


def engine_of(place: URL) -> AsyncEngine:
    """Return the engine of the database at a URL; nothing is opened yet."""
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
    address, options = _for_asyncpg(place)
    given = {"timeout": CONNECT_SECONDS, "command_timeout": COMMAND_SECONDS, **options}
    try:
        engine = create_async_engine(address, connect_args=given, pool_pre_ping=True, **common)
    except ModuleNotFoundError as missing:
        hint = f"{sys.executable} -m pip install 'siprec-recorder[postgresql]'"
        raise DriverMissing(f"{missing.name} is not installed, so no PostgreSQL can be reached", hint) from None
    event.listen(engine.sync_engine, "connect", _set_no_jit)
    return engine


def _for_asyncpg(place: URL) -> tuple[URL, dict[str, str]]:
    """Take the options of libpq out of an address; return the rest, and what gives them to asyncpg.connect()."""
    given = {name: value for name in _LIBPQ if isinstance(value := place.query.get(name), str)}
    rest = place.difference_update_query(given)
    return rest, {"dsn": f"postgresql:///?{urlencode(given)}"} if given else {}


def _set_no_jit(connection: Any, _record: object) -> None:
    """Set it for a new connection, outside a transaction."""
    connection.run_async(lambda driver: driver.execute(_NO_JIT))


def _set_pragmas(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # BEGIN is sent explicitly, because the driver would send it too late
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()
    connection.run_async(_use_wal)


async def _use_wal(driver: Any) -> None:
    """Set WAL, so that readers and a writer do not wait for each other; retry, as SQLite does not wait for readers."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + BUSY_SECONDS
    while True:
        try:
            await driver.execute_fetchall("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or clock() > deadline:
                raise
            await asyncio.sleep(0.01)
        else:
            return


def _roll_back(connection: Any, _record: object, _error: object) -> None:
    """Release the locks of a cancelled task, because a statement that it was reading keeps SQLite from closing."""
    with suppress(Exception):  # the connection is thrown away in any case
        connection.rollback()


def _begin(connection: sa.Connection) -> None:
    """Take the write lock at the beginning: SQLite refuses a reader that begins to write, and does not let it wait."""
    driver: Any = connection.connection.dbapi_connection
    driver.begin_later(writing=connection.get_execution_options().get("writing", False))
