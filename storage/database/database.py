"""One database of one customer: engine, schema version, transactions, and errors without personal data.

Only one transaction writes at a time, so nothing that it has read changes before it writes. Within this process a lock
ensures this; between processes, SQLite's BEGIN IMMEDIATE (with the first statement) or an advisory lock of PostgreSQL.
"""

import asyncio
import os
import sqlite3
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database import schema
from storage.database.engines import engine_of
from storage.database.sqlite_driver import DIALECT
from storage.errors import DatabaseFault, StorageError
from storage.timestamps import to_micros

FILE_NAME = "index.sqlite3"
HEAD = "0008"  # newest migration, here so that opening needs no import of alembic; a test compares it with the folder
WRITER_LOCK = 0x73697072  # advisory lock of PostgreSQL, one in each database
IDLE_SECONDS = 60  # PostgreSQL ends a transaction that is idle for longer, so that a lost client does not keep the lock

_AWAY_CLASSES = (
    "08",
    "28",
    "3D",
    "53",
    "55",
    "57",
)  # SQLSTATE: connection, authorisation, no database, resources, not ready, shutdown
_STATEMENT_CODE = 1  # SQLITE_ERROR: the statement itself is wrong
_DAMAGED_CODES = (11, 26)  # SQLITE_CORRUPT, SQLITE_NOTADB

_OPENING: ContextVar[str] = ContextVar("opening", default="")  # the customer whose database this task is opening


Undo = Callable[[], Awaitable[None]]
Check = Callable[[AsyncConnection], Awaitable[None]]
Guard = Callable[[AsyncConnection, bool], Awaitable[None]]
"""Called with a transaction's connection and whether it writes; raises StorageError if it may not go on."""


@dataclass(slots=True)
class _Transaction:
    """The writing transaction of a task."""

    connection: AsyncConnection
    """Its connection."""
    undo: list[Undo] = field(default_factory=list)
    """Functions to run if it does not commit, in the order in which they were added."""
    done: list[Callable[[], None]] = field(default_factory=list)
    """Functions to run once it has committed."""
    after: list[Undo] = field(default_factory=list)
    """Functions to run once it has committed and released the write lock."""


_WRITING: ContextVar[_Transaction | None] = ContextVar("writing", default=None)  # this task's transaction


class DatabaseAway(StorageError):
    """The database cannot be reached or written to now; the same call may succeed later."""


class DatabaseOlder(DatabaseAway):
    """The server lacks committed transactions, because another server took its place; opening it again repairs this."""


class DatabaseDamaged(StorageError):
    """The file is damaged or no database, or the database is another customer's or newer than this program."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Facts that a PostgreSQL server reports about itself and about our connection."""

    version: str
    """Version of the server, for example 17.5."""
    standby: bool
    """Whether it replicates another server, and so cannot be written to."""
    encryption: str | None
    """Version of TLS, None without TLS."""
    ahead: float
    """Seconds by which its clock is ahead of ours, accurate to the round-trip time of the query."""


_SERVER = """
    SELECT current_setting('server_version'), pg_is_in_recovery(),
           (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()), extract(epoch FROM clock_timestamp())
"""


class Database:
    """The database of one customer: open it with `Database.open`, use `reading()` and `writing()`, then close it."""

    def __init__(self, url: str, customer: str, folder: Path) -> None:
        """Name the database, which need not be reachable yet; `url`: "sqlite", or a URL with {customer}.

        Until `prepare` and `serve` have been called, every use raises DatabaseAway.
        """
        self.customer = customer
        self._file = folder / FILE_NAME if url == "sqlite" else None
        self._place = _place(url, customer, folder)
        self._engine = engine_of(self._place)
        self.dialect = self._engine.dialect.name
        self._writer = asyncio.Lock()
        self._served = False
        self._guards: list[Guard] = []

    @classmethod
    async def open(cls, url: str, customer: str, folder: Path, now: datetime) -> "Database":
        """Open or create a database that must be reachable now; raises DatabaseAway, DatabaseDamaged."""
        database = cls(url, customer, folder)
        await database.prepare(now)
        database.serve()
        return database

    async def prepare(self, now: datetime, check: Check | None = None) -> None:
        """Create the database or migrate it to the newest schema; raises DatabaseAway, DatabaseDamaged. Repeatable.

        `check` is called first in the same transaction, and raises if the database may not be changed.
        """
        try:
            if self._file:
                _touch(self._file, self.customer)
            with self.opening():
                await self._prepare(now, check)
        except BaseException:
            await self.close()  # the next attempt connects again, as the file may have been replaced by then
            raise

    async def look(self, check: Check | None = None) -> None:
        """Check that `prepare` would succeed, without writing; raises DatabaseAway, DatabaseDamaged."""
        if self._file:
            await asyncio.to_thread(_look_at_file, self._file, self.customer)
            return
        try:
            with self.opening():
                async with self.reading() as connection:
                    await connection.run_sync(_judge, self.customer)
                    if check is not None:
                        await check(connection)
        except _NoSuchDatabase:
            await _may_create(self._place)

    @property
    def host(self) -> str:
        """Return the server's host or the folder of its socket; "" if the driver's default is used."""
        return self._place.host or str(self._place.query.get("host", ""))

    async def server(self) -> "ServerFacts | None":
        """Ask the server for its facts; return None for SQLite. Raises DatabaseAway, DatabaseDamaged."""
        if self._file:
            return None
        with self.opening():
            async with self.reading() as connection:
                began = time.time()
                found = (await connection.execute(sa.text(_SERVER))).one()
                return ServerFacts(found[0], bool(found[1]), found[2], float(found[3]) - (began + time.time()) / 2)

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Let this task use the database before it is served."""
        token = _OPENING.set(self.customer)
        try:
            yield
        finally:
            _OPENING.reset(token)

    def serve(self) -> None:
        """Let every task use the database."""
        self._served = True

    def guard(self, guard: Guard) -> None:
        """Call `guard` at the beginning of each transaction that is not part of the opening."""
        self._guards.append(guard)

    def refuse(self) -> None:
        """Keep all tasks from using the database until it is opened and served again."""
        self._served = False

    @property
    def served(self) -> bool:
        """Return whether the database was opened and is served; it may still be unreachable now."""
        return self._served

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection in a transaction that sees one state of the database."""
        self._admit()
        async with _translated(), self._engine.connect() as connection:
            if self.dialect == "postgresql":  # otherwise each statement would also see later commits of others
                await connection.execution_options(isolation_level="REPEATABLE READ")
            async with connection.begin():
                await self._ask_guards(connection, False)
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Yield the only writing connection; commit durably at the end of the block, or change nothing."""
        self._admit()
        after: list[Undo] = []
        async with _translated(), self._writer, self._engine.connect() as connection:
            await connection.execution_options(writing=True)
            async with connection.begin() as transaction:
                mine = _Transaction(connection)
                await _wait_for_others(connection)
                _WRITING.set(mine)
                try:
                    await self._ask_guards(connection, True)
                    yield connection
                except BaseException:
                    await _undo(mine)
                    raise
                finally:
                    _WRITING.set(None)
                try:
                    await transaction.commit()
                except Exception:
                    if self.dialect == "sqlite":  # a server may have committed before the connection broke
                        await _undo(mine)
                    raise
                for done in mine.done:
                    done()
                after = mine.after
        for each in after:
            await each()

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection that writes a row that nobody else changes, without waiting for other writers."""
        self._admit()
        async with _translated(), self._engine.begin() as connection:
            yield connection

    async def peek(self, statement: sa.Executable) -> Any:
        """Return the only row of a reading statement, without a transaction block and without calling guards.

        It takes one round trip, and suits a check whether something has changed. Use `reading` for sealed values.
        """
        self._admit()
        async with _translated(), self._engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            return (await connection.execute(statement)).one()

    async def scrub(self) -> None:
        """Empty SQLite's write-ahead log, so that no file holds deleted rows; do nothing with PostgreSQL.

        Raises DatabaseAway if a reader prevented it.
        """
        if self.dialect != "sqlite":
            return
        self._admit()
        async with _translated(), self._writer, self._engine.connect() as connection:
            driver = await connection.get_raw_connection()
            raw: Any = driver.driver_connection
            found = list(await raw.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)"))
        if found and found[0][0]:
            raise DatabaseAway("the write-ahead log is being read and could not be emptied", "it is tried again")

    async def remove(self) -> None:
        """Drop everything of this customer from a server; repeatable. A SQLite file is removed with its folder instead.

        If this user may not drop the database, it stays, but empty.
        """
        if self._file:
            return
        with suppress(_NoSuchDatabase):
            with self.opening():
                async with self.writing() as connection:
                    if await connection.run_sync(_judge, self.customer) is not None:
                        await connection.run_sync(schema.metadata.drop_all)
                        await connection.execute(sa.text("DROP TABLE IF EXISTS alembic_version"))
            await self.close()  # a database cannot be dropped while anybody is connected to it
            with suppress(StorageError):
                await _on_server(self._place, "DROP DATABASE IF EXISTS")

    async def close(self) -> None:
        """Close all connections."""
        async with _translated():
            await self._engine.dispose()

    def _admit(self) -> None:
        if not self._served and _OPENING.get() != self.customer:
            raise DatabaseAway("the database is not open yet", "recording goes on; the index catches up")

    async def _ask_guards(self, connection: AsyncConnection, writes: bool) -> None:
        if self._guards and _OPENING.get() != self.customer:
            for guard in self._guards:
                await guard(connection, writes)

    async def _prepare(self, now: datetime, check: Check | None) -> None:
        try:
            await self._bring_up(now, check)
        except DatabaseAway as error:
            if not isinstance(error, _NoSuchDatabase):
                raise
            await _create_database(self._place)
            await self._bring_up(now, check)

    async def _bring_up(self, now: datetime, check: Check | None) -> None:
        async with self.writing() as connection:
            if check is not None:
                await check(connection)
            await connection.run_sync(_bring_up, self.customer, now)


def writer() -> AsyncConnection | None:
    """Return the connection of this task's writing transaction, None if there is none."""
    mine = _WRITING.get()
    return None if mine is None else mine.connection


def unless_committed(undo: Undo) -> None:
    """Run `undo` if the writing transaction of this task fails, before others may write."""
    mine = _WRITING.get()
    if mine is not None:
        mine.undo.append(undo)


def once_committed(done: Callable[[], None]) -> None:
    """Call `done` once the writing transaction of this task has committed."""
    mine = _WRITING.get()
    if mine is not None:
        mine.done.append(done)


def after_commit(work: Callable[[], Awaitable[None]]) -> None:
    """Do `work` after the writing transaction of this task has committed; the `writing` block ends only after that."""
    mine = _WRITING.get()
    if mine is not None:
        mine.after.append(work)


async def _undo(transaction: _Transaction) -> None:
    """Run the undo functions, newest first; the next start repairs what they cannot undo."""
    for undo in reversed(transaction.undo):
        with suppress(StorageError):
            await undo()


async def _wait_for_others(connection: AsyncConnection) -> None:
    """Keep other processes from writing until this transaction ends; SQLite did so when the transaction began."""
    if connection.dialect.name == "postgresql":
        timeout = sa.func.set_config("idle_in_transaction_session_timeout", f"{IDLE_SECONDS}s", True)
        await connection.execute(sa.select(timeout, sa.func.pg_advisory_xact_lock(WRITER_LOCK)))


class _NoSuchDatabase(DatabaseAway):
    """The server can be reached but has no database of this name."""


def _place(url: str, customer: str, folder: Path) -> URL:
    if url != "sqlite":
        return make_url(url.replace("{customer}", customer))
    return URL.create(DIALECT, database=str(folder / FILE_NAME))


def _touch(path: Path, customer: str) -> None:
    """Create the file if it is missing, because SQLite would take its mode from the umask."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise DatabaseAway(
            f"the database of customer {customer} cannot be opened: {error.strerror}", str(path)
        ) from None


def _bring_up(connection: sa.Connection, customer: str, now: datetime) -> None:
    version = _judge(connection, customer)
    if version is None:
        _create_schema(connection, customer, now)
    elif version != HEAD:
        from storage.database.migrate import upgrade  # importing alembic takes 0.2 s; needed once a release

        upgrade(connection)


def _judge(connection: sa.Connection, customer: str) -> str | None:
    """Return the schema's version, None for an empty database; raise DatabaseDamaged if it cannot be ours."""
    present = set(sa.inspect(connection).get_table_names())
    if not present:
        return None
    if "alembic_version" not in present:
        raise DatabaseDamaged(
            f"the database of customer {customer} holds tables of another program", "use an empty database"
        )
    version: str = _known(connection.scalar(sa.text("SELECT version_num FROM alembic_version")), customer)
    if connection.scalar(sa.select(schema.about.c.customer)) != customer:
        raise DatabaseDamaged(
            f"the database of customer {customer} belongs to another customer", "put the right one back"
        )
    return version


@lru_cache(maxsize=1)  # the dialect of SQLite is the same for all customers
def _definitions(dialect: sa.Dialect) -> tuple[str, ...]:
    """Return the statements that define the tables and indexes of the newest schema."""
    tables = schema.metadata.sorted_tables
    indexes = [index for table in tables for index in table.indexes]
    made: list[sa.schema.ExecutableDDLElement] = [sa.schema.CreateTable(table) for table in tables]
    made += [sa.schema.CreateIndex(index) for index in indexes]
    return tuple(str(each.compile(dialect=dialect)) for each in made)


def _create_schema(connection: sa.Connection, customer: str, now: datetime) -> None:
    """Create the newest schema directly; running the migrations would need alembic, which takes 0.2 s."""
    for statement in _definitions(connection.dialect):
        connection.exec_driver_sql(statement)
    connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(sa.text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
    connection.execute(schema.about.insert(), {"customer": customer, "created_at": to_micros(now)})


def _known(version: Any, customer: str) -> Any:
    """Return the version of a schema; raise DatabaseDamaged if it cannot be migrated to the newest."""
    if version != HEAD:
        from storage.database.migrate import known  # importing alembic takes 0.2 s; needed once a release

        if version not in known():
            raise DatabaseDamaged(
                f"the database of customer {customer} has a schema this program does not know",
                "start the newer program that wrote it",
            )
    return version


def _look_at_file(path: Path, customer: str) -> None:
    """Check SQLite's file without creating the files that opening it creates; its write-ahead log is not read."""
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGED_CODES[1:]:  # ignores SQLITE_CORRUPT: a page that is being written looks damaged
            raise _translate(error) or error from None
        if code == sqlite3.SQLITE_CANTOPEN:
            raise DatabaseAway(f"the database of customer {customer} cannot be opened", str(path)) from None
        return
    if found:
        _known(found[0], customer)


@asynccontextmanager
async def _maintenance(place: URL) -> AsyncIterator[AsyncConnection]:
    """Yield a connection to the database that every server has, from which other databases are created."""
    engine = engine_of(place.set(database="postgres"))
    try:
        async with _translated(), engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


async def _on_server(place: URL, do: str) -> None:
    """Create or drop a database, outside a transaction, because the server refuses it inside one."""
    name = (place.database or "").replace('"', '""')
    async with _maintenance(place) as connection:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        await raw.execute(f'{do} "{name}"')


async def _create_database(place: URL) -> None:
    try:
        await _on_server(place, "CREATE DATABASE")
    except StorageError:
        raise _not_created(place) from None


async def _may_create(place: URL) -> None:
    """Raise DatabaseAway if this user may create no database."""
    try:
        async with _maintenance(place) as connection:
            right = "SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user"
            allowed = await connection.scalar(sa.text(right))
    except StorageError:
        allowed = False
    if not allowed:
        raise _not_created(place)


def _not_created(place: URL) -> DatabaseAway:
    said = f"PostgreSQL has no database {place.database} and this user may not create it"
    return DatabaseAway(said, f"createdb {place.database}")


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """Replace each exception of a driver by one of ours without the driver's text, which may contain values."""
    try:
        yield
    except Exception as error:
        failure = _translate(error)
        if failure is None:
            raise
        raise failure from None


def _encryption(original: BaseException | None) -> DatabaseAway | None:
    """Return the error to raise if a connection failed because of sslmode, None otherwise."""
    if isinstance(original, ssl.SSLError):
        hint = "name its authority (&sslrootcert=FILE), its host as in the certificate, or choose another sslmode"
        return DatabaseAway("the certificate of PostgreSQL was not accepted", hint)
    if isinstance(original, ConnectionError) and "rejected SSL upgrade" in str(original):
        return DatabaseAway(
            "PostgreSQL offers no TLS, which sslmode requires", "set ssl = on there, or another sslmode"
        )
    return None


def _translate(error: Exception) -> StorageError | None:
    original = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(original, "sqlstate", None) or getattr(original.__cause__ if original else None, "sqlstate", None)
    code = getattr(original, "sqlite_errorcode", None)
    kind = type(original).__name__
    if encryption := _encryption(original):
        return encryption
    if state == "3D000":
        return _NoSuchDatabase("the database does not exist")
    if isinstance(state, str):
        return (
            DatabaseAway(f"the database is away ({state})")
            if state[:2] in _AWAY_CLASSES
            else DatabaseFault(f"the database refused ({state})")
        )
    if code is not None and code & 0xFF in _DAMAGED_CODES:
        return DatabaseDamaged("the database file is damaged", "restore it, or move it away and run `recorder recover`")
    if code is not None and code & 0xFF == _STATEMENT_CODE:
        return DatabaseFault("the database refused (SQLITE_ERROR)")
    if isinstance(error, OSError | PoolTimeout) or kind in (
        "OperationalError",
        "InterfaceError",
        "ConnectionDoesNotExistError",
    ):
        return DatabaseAway(
            f"the database is away ({getattr(original, 'sqlite_errorname', kind)})",
            "start it, or correct its address; recording goes on and the index catches up",
        )
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return DatabaseAway(f"the connection to the database broke ({kind})")
    if isinstance(error, SQLAlchemyError) or type(error).__module__.startswith("asyncpg"):
        return DatabaseFault(f"the database refused ({kind})")
    return None
