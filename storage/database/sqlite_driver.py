"""A driver for SQLite over aiosqlite that makes one trip to the connection's thread for each statement.

SQLAlchemy's adapter makes four: open a cursor, execute, fetch, close. A trip wakes two threads and costs more than a
short statement.

A transaction begins together with its first statement, and a transaction without statements costs no trip at its end.
This changes no result: SQLite itself fixes the state that a reading transaction sees at its first statement, and a
writing transaction locks out other processes from its first statement on.
"""

import sqlite3
from collections import deque
from typing import Any

import aiosqlite
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
    SQLiteDialect_aiosqlite,
)
from sqlalchemy.util.concurrency import await_

DIALECT = "sqlite+own"
"""Scheme of SQLAlchemy's addresses for this driver."""


class Cursor(AsyncAdapt_aiosqlite_cursor):
    """A cursor that has fetched all rows of its statement."""

    __slots__ = ()

    def __init__(self, connection: "Connection") -> None:
        self._adapt_connection = connection
        self._connection = connection.driver_connection
        self._cursor: Any = None  # the thread's closed cursor, for its description and row count
        self._rows = deque()

    @property
    def description(self) -> Any:
        """Return the names of the columns, None if the statement returns no rows."""
        return None if self._cursor is None else self._cursor.description

    def execute(self, operation: Any, parameters: Any = None) -> Any:
        """Execute a statement and fetch its rows; raises what sqlite3 raises."""
        return self._done(operation, parameters or (), many=False)

    def executemany(self, operation: Any, seq_of_parameters: Any) -> Any:
        """Execute a statement once for each set of parameters; raises what sqlite3 raises."""
        return self._done(operation, seq_of_parameters, many=True)

    def _done(self, operation: str, parameters: Any, *, many: bool) -> None:
        self._cursor, rows = self._adapt_connection.trip(operation, parameters, many)  # type: ignore[attr-defined]
        self._rows = deque(rows)

    async def _async_soft_close(self) -> None:
        """Do nothing; the thread has closed the cursor."""

    def close(self) -> None:
        """Release the rows."""
        self._rows.clear()


class Connection(AsyncAdapt_aiosqlite_connection):
    """A connection that makes one trip to its thread for each statement."""

    __slots__ = ("_first", "_used")

    def __init__(self, dbapi: Any, connection: aiosqlite.Connection) -> None:
        super().__init__(dbapi, connection)  # type: ignore[arg-type]  # SQLAlchemy's own adapter passes the same
        self._first = ""
        self._used = False  # whether a statement was executed since the last transaction ended

    def begin_later(self, *, writing: bool) -> None:
        """Begin a transaction with the next statement; `writing`: it waits for the write lock."""
        self._first = "BEGIN IMMEDIATE" if writing else "BEGIN"

    def trip(self, statement: str, given: Any, many: bool) -> Any:
        """Execute a statement in the thread (`many`: for each set of parameters); raises what sqlite3 raises."""
        self._used, first, self._first = True, self._first, ""
        driver: Any = self._connection
        try:
            return await_(driver._execute(_execute, driver._conn, first, statement, given, many))
        except Exception as error:
            self._handle_exception(error)

    def cursor(self, server_side: bool = False) -> Any:
        """Return a cursor; raises NotImplementedError for one that fetches row by row."""
        if server_side:
            raise NotImplementedError("rows are fetched at once")
        return Cursor(self)

    def commit(self) -> None:
        """Commit if any statement was executed."""
        self._first = ""
        if self._used:
            super().commit()
            self._used = False

    def rollback(self) -> None:
        """Roll back if any statement was executed."""
        self._first = ""
        if self._used:
            super().rollback()
            self._used = False


class Driver(AsyncAdapt_aiosqlite_dbapi):
    """The driver's module in the form that SQLAlchemy expects."""

    def __init__(self) -> None:
        super().__init__(aiosqlite, sqlite3)

    def connect(self, *arg: Any, **kw: Any) -> Connection:
        """Open a connection; raises what sqlite3 raises."""
        return Connection(self, super().connect(*arg, **kw).driver_connection)


class Dialect(SQLiteDialect_aiosqlite):
    """The SQL of SQLite, the same for every customer: engines that share a `compiled_cache` compile a statement once.

    SQLAlchemy's cache key includes the dialect, and each engine makes a dialect of its own; so all dialects are equal.
    """

    supports_statement_cache = True  # not inherited

    @classmethod
    def import_dbapi(cls) -> Driver:
        """Return the driver."""
        return Driver()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dialect)

    def __hash__(self) -> int:
        return hash(Dialect)


registry.register(DIALECT.replace("+", "."), __name__, Dialect.__name__)


def _execute(
    connection: sqlite3.Connection, first: str, statement: str, given: Any, many: bool
) -> tuple[sqlite3.Cursor, list[Any]]:
    cursor = connection.cursor()
    try:
        if first:
            cursor.execute(first)
        (cursor.executemany if many else cursor.execute)(statement, given)
        return cursor, cursor.fetchall() if cursor.description else []
    finally:
        cursor.close()
