"""Engines for SQLite and PostgreSQL, with their settings and time limits.

SQLite is opened with
- WAL: readers never wait for the writer;
- synchronous=FULL: calls can be rebuilt from the vault, but holds, waivers, rules and erasures in the same file cannot,
  and an answered request must survive a power cut. Writes come in batches, so this costs one sync for each batch;
- secure_delete=ON: deleted data are overwritten, also in free pages;
- temp_store=MEMORY: no sorted copies in temporary files.
PostgreSQL is reached through asyncpg, with its JIT compilation of statements switched off. PgBouncer may be in between,
even one that gives each transaction another connection of the server (`pool_mode = transaction`): settings and advisory
locks end with their transaction, and with PgBouncer nothing else is kept in the session (`_Pooler`).
"""

import asyncio
import math
import sqlite3
import time
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import LRUCache

from storage import extras
from storage.errors import DriverMissing

BUSY_SECONDS = 5.0  # longer than any transaction of the recorder, shorter than an API client waits
CONNECT_SECONDS = 3.0  # an unreachable database must be noticed before a call's checkpoint is due
COMMAND_SECONDS = 30.0  # a sweep of a customer's calls takes seconds
PING_SECONDS = 10.0  # a connection idle for longer is tested, in a transaction; a closed one is noticed at once
POOL_SIZE = 4  # the writer and three readers; with SQLite, each has a thread
SERVER_SETTINGS = {"jit": "off"}  # with ten million calls, compiling a statement takes 0.1 s, longer than running it
_PROTOCOL_VIOLATION = "08P01"  # SQLSTATE of PgBouncer for an unsupported startup parameter
_LIBPQ = ("sslmode", "sslrootcert", "sslcrl", "sslcert", "sslkey")
"""Options that asyncpg understands as libpq does, but only in an address."""
COMPILED: LRUCache[Any, Any] = LRUCache(500)  # as many statements as an engine of SQLAlchemy caches for itself
"""Compiled statements of SQLite, shared by all customers: compiling those of a start would take each customer 50 ms."""
_PRAGMAS = (
    f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}",
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-8000",
)


def engine_of(place: URL) -> AsyncEngine:
    """Return the engine of the database at a URL, without opening anything yet."""
    common: dict[str, Any] = {
        "hide_parameters": True,
        "pool_size": POOL_SIZE,
        "max_overflow": 0,
        "pool_timeout": COMMAND_SECONDS,
    }
    if place.get_backend_name() == "sqlite":
        common["execution_options"] = {"compiled_cache": COMPILED}
        engine = create_async_engine(place, connect_args={"timeout": BUSY_SECONDS}, **common)
        event.listen(engine.sync_engine, "connect", _set_pragmas)
        event.listen(engine.sync_engine, "begin", _begin)
        event.listen(engine.sync_engine, "invalidate", _roll_back)
        return engine
    address, options = _for_asyncpg(place)
    given = {"timeout": CONNECT_SECONDS, "command_timeout": COMMAND_SECONDS, **options}
    try:
        engine = create_async_engine(address, connect_args=given, pool_use_lifo=True, **common)
    except ModuleNotFoundError as missing:
        hint = extras.how_to_install(extras.POSTGRESQL)
        raise DriverMissing(f"{missing.name} is not installed, so no PostgreSQL can be reached", hint) from None
    pooler = _Pooler()
    event.listen(engine.sync_engine, "do_connect", pooler.connect)
    event.listen(engine.sync_engine, "begin", pooler.begin)
    event.listen(engine.sync_engine, "checkin", _used)
    event.listen(engine.sync_engine, "checkout", partial(_still_there, engine.dialect))
    return engine


class _Pooler:
    """Connects to PostgreSQL, and detects whether PgBouncer is in between.

    PgBouncer refuses startup parameters that are not in its `ignore_startup_parameters`. A statement prepared in one
    transaction is unknown in the next, unless PgBouncer is newer than 1.20 and has `max_prepared_statements`. It is
    detected by that refusal, or because the process id in its greeting is not that of the server's process. With
    PgBouncer, settings are made in each transaction, and statements are prepared without a name, for one use.
    """

    def __init__(self) -> None:
        self._between = False

    def connect(self, dialect: sa.Dialect, _record: object, cargs: tuple[Any, ...], cparams: dict[str, Any]) -> Any:
        """Return a new connection; connect a second time if PgBouncer was expected and is absent, or the reverse."""
        connection = self._try(dialect, cargs, cparams)
        if connection is not None:
            try:
                between = connection.run_async(_process) != connection.driver_connection.get_server_pid()
            except BaseException:
                connection.terminate()
                raise
            if between == self._between:
                return connection
            connection.close()
        self._between = not self._between
        return self._connected(dialect, cargs, cparams)

    def _try(self, dialect: sa.Dialect, cargs: tuple[Any, ...], cparams: dict[str, Any]) -> Any:
        """Return a new connection, None if PgBouncer refused its startup parameters."""
        try:
            return self._connected(dialect, cargs, cparams)
        except dialect.loaded_dbapi.Error as error:
            if self._between or getattr(error, "sqlstate", None) != _PROTOCOL_VIOLATION:
                raise
            return None

    def _connected(self, dialect: sa.Dialect, cargs: tuple[Any, ...], cparams: dict[str, Any]) -> Any:
        return dialect.connect(*cargs, **cparams, **(_UNNAMED if self._between else _NAMED))

    def begin(self, connection: sa.Connection) -> None:
        """Make the settings in a transaction that PgBouncer refuses as startup parameters."""
        if self._between and connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            for name, value in SERVER_SETTINGS.items():
                connection.exec_driver_sql(f"SET LOCAL {name} = {value}")


async def _process(driver: Any) -> int:
    """Return the id of the server's process; the transaction keeps PgBouncer on one connection to the server."""
    async with driver.transaction():
        return int(await driver.fetchval("SELECT pg_backend_pid()"))


def _used(_connection: Any, record: Any) -> None:
    """Note when a connection was last used; the connection in `record` is None if it is lost."""
    record.info["used"] = time.monotonic()


def _still_there(dialect: sa.Dialect, connection: Any, record: Any, _proxy: object) -> None:
    """Raise DisconnectionError for a lost connection, so that the pool connects again."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError
    if time.monotonic() - record.info.get("used", math.inf) > PING_SECONDS:
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as problem:
            if dialect.is_disconnect(problem, connection, None):
                raise DisconnectionError from None
            raise


def _no_name() -> str:
    return ""


_NAMED: dict[str, Any] = {"server_settings": SERVER_SETTINGS}
_UNNAMED: dict[str, Any] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": _no_name,
}


def _for_asyncpg(place: URL) -> tuple[URL, dict[str, str]]:
    """Take the options of libpq out of an address; return the rest, and the arguments of asyncpg.connect() for them."""
    given = {name: value for name in _LIBPQ if isinstance(value := place.query.get(name), str)}
    rest = place.difference_update_query(given)
    return rest, {"dsn": f"postgresql:///?{urlencode(given)}"} if given else {}


def _set_pragmas(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we send BEGIN explicitly, because the driver would send it too late
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()
    connection.run_async(_use_wal)


async def _use_wal(driver: Any) -> None:
    """Set WAL mode, so that readers and the writer do not wait for each other; retry if a reader prevents it."""
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
    """Roll back the transaction of a cancelled task: a statement that it was reading keeps SQLite from closing."""
    with suppress(Exception):  # the connection is thrown away in any case
        connection.rollback()


def _begin(connection: sa.Connection) -> None:
    """Take the write lock at the beginning: SQLite does not let a reader that starts to write wait, but refuses it."""
    driver: Any = connection.connection.dbapi_connection
    driver.begin_later(writing=connection.get_execution_options().get("writing", False))
