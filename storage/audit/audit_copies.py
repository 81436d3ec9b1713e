"""Copies of all nodes' audit logs in their shared database, so that each node can show and check the logs of all.

    await copies.push()                          copies the entries that the copy lacks; nothing waits for it
    page = await copies.read(since, cursor, …)   entries of all nodes, newest first
    found = await copies.verify(told)            node → verdict about its copy

Entries are written to the node's own chain file as on a single machine, and only then copied: in order, in transactions
of up to BATCH entries, and never beyond the newest signed checkpoint, which is copied with the entry that it names. So
a copy can be verified by itself: its entries follow from each other, its checkpoints are signed with the customer's key
and name the node, and the chain names its node (entry `audit.node`). If copying is killed, or the database loses
commits, the next `push` continues after the last entry in the database.

Copied entries are never overwritten. If this node's log lacks copied entries, because an older log was restored, the
copy continues in a new *course* after the last entry that both have. The abandoned entries stay, and their checkpoints
make verification fail until somebody accepts the loss (`recorder audit accept`), as a witness's checkpoints do.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import cursors
from storage.audit.audit_files import EVERY, MOST_LOOKED_AT, AuditFiles, AuditPage, Wanted, accepted_in, named_in, shown
from storage.audit.hash_chain import AuditError, Checkpoint, Verdict, verify
from storage.batches import BATCH
from storage.database.database import Database, DatabaseAway
from storage.database.schema import audit_copies, journal_mark, nodes
from storage.timestamps import from_text, to_micros

_AT = audit_copies.c
_PLACE = _AT.at, _AT.node, _AT.course, _AT.n
_IN_MEMORY = 32 << 20  # bytes of a copy that is verified in memory; a larger one goes into an unnamed file


@dataclass(frozen=True, slots=True)
class _End:
    """The end of the copy of this node's log."""

    course: int
    """Number of the course."""
    n: int
    """Number of the last entry, 0 if there is none."""
    offset: int
    """Offset of its end in this node's log."""


class AuditCopies:
    """The copies of one customer's audit logs, for one of the nodes."""

    def __init__(
        self, database: Database, files: AuditFiles, customer: str, node: int, key: Ed25519PublicKey, label: str = ""
    ) -> None:
        self._database = database
        self._files = files
        self._customer = customer
        self._node = node
        self._key = key
        self._label = label
        self._end: _End | None = None  # as this process left it
        self._lock = asyncio.Lock()

    async def push(self, *, look: bool = False) -> int:
        """Copy the entries that are not copied yet; return how many. Raises StorageError.

        `look`: ask the database even if nothing was written since; it may have lost what was copied.
        """
        async with self._lock:
            try:
                return await self._push(look=look)
            except BaseException:
                self._end = None
                raise

    async def _push(self, *, look: bool) -> int:
        copied = 0
        mark = await asyncio.to_thread(self._files.newest_mark, self._key)
        while mark is not None and (look or self._end is None or self._end.n < mark.head.n):
            look = False
            async with self._database.beside() as connection:
                end = await self._found(connection)
                lines = await asyncio.to_thread(self._files.between, end.offset, mark.head.size, BATCH)
                if not lines:
                    self._end = end
                    break
                rows = self._rows(end, lines, mark)
                put = postgresql_insert(audit_copies).on_conflict_do_nothing().values(rows)
                if (await connection.execute(put)).rowcount != len(rows):
                    raise DatabaseAway("another process copies the audit log", "it is tried again")
            self._end = _End(end.course, rows[-1]["n"], end.offset + sum(map(len, lines)))
            copied += len(rows)
        return copied

    def _rows(self, end: _End, lines: Sequence[bytes], mark: Checkpoint) -> list[dict[str, Any]]:
        """Return rows for lines that follow an end; raises AuditError if entries are repeated or out of order.

        A line that cannot be read is copied unchanged, and a missing number is skipped: verification reports both.
        """
        rows: list[dict[str, Any]] = []
        n, at = end.n, 0
        for line in lines:
            item = shown(line)
            after = n + 1 if item is None else int(item["n"])
            if after <= n:
                raise AuditError("the audit log has entries twice or in another order, so it is not copied any further")
            n, at = after, at if item is None else to_micros(from_text(item["time"]))
            signed = bytes(mark) if n == mark.head.n else None
            rows.append({"node": self._node, "course": end.course, "n": n, "at": at, "line": line, "mark": signed})
        return rows

    async def _found(self, connection: AsyncConnection) -> _End:
        """Find where the copy ends and where this node's log goes on."""
        asked = sa.select(_AT.course, _AT.n, _AT.line).where(_AT.node == self._node)
        newest = (await connection.execute(asked.order_by(_AT.course.desc(), _AT.n.desc()).limit(1))).one_or_none()
        if newest is None:
            return _End(0, 0, 0)
        end = self._end
        if end is not None and (end.course, end.n) == (newest.course, newest.n):
            return end
        ends = self._files.back_from(1 << 62)
        here = await asyncio.to_thread(_entry, ends, newest.n)
        if here is not None and here[1] == newest.line:
            return _End(newest.course, newest.n, here[0])
        return await self._fork(connection, newest.course, newest.n)

    async def _fork(self, connection: AsyncConnection, course: int, last: int) -> _End:
        """Find the last entry that log and copy have in common, from which the log goes on in a new course."""
        starts = await _starts(connection, self._node)
        ends = self._files.back_from(1 << 62)
        here = await asyncio.to_thread(_entry, ends, last)
        while here is not None:
            item = shown(here[1])
            n = 0 if item is None else int(item["n"])
            asked = sa.select(_AT.line).where(_AT.node == self._node, _AT.course == _course(starts, n), _AT.n == n)
            if await connection.scalar(asked) == here[1]:
                return _End(course + 1, n, here[0])
            here = await asyncio.to_thread(next, ends, None)
        return _End(course + 1, 0, 0)

    async def read(
        self, since: datetime | None = None, cursor: str | None = None, limit: int = 100, wanted: Wanted = EVERY
    ) -> AuditPage:
        """Return entries of all nodes, newest first, back to `since`; each has its `node`.

        If few of very many entries match, the page ends early, with a cursor. Raises BadCursor.
        """
        with suppress(DatabaseAway):  # another process is copying; if the database is away, reading raises that
            await self.push()
        asked = sa.select(*_PLACE, _AT.line).order_by(*(column.desc() for column in _PLACE))
        asked = asked.where(_AT.at >= to_micros(since)) if since is not None else asked
        asked = asked.where(_AT.at < to_micros(wanted.until)) if wanted.until is not None else asked
        place = None if cursor is None else cursors.read_by_numbers(cursor, len(_PLACE))
        items: list[dict[str, Any]] = []
        looked = 0
        async with self._database.reading() as connection:
            names = await self._names(connection)
            while looked < MOST_LOOKED_AT:
                part = asked if place is None else asked.where(sa.tuple_(*place) > sa.tuple_(*_PLACE))
                rows = (await connection.execute(part.limit(BATCH))).all()
                for at, node, course, n, line in rows:
                    place = (at, node, course, n)
                    item = shown(line) if wanted.may_be(line) else None
                    if item is None or not wanted.meets(item):
                        continue
                    items.append({**item, "node": names.get(node, str(node))})
                    if len(items) == limit:
                        return AuditPage(tuple(items), cursors.by_numbers(*place))
                looked += len(rows)
                if len(rows) < BATCH or place is None:
                    return AuditPage(tuple(items), None)
        return AuditPage(tuple(items), cursors.by_numbers(*(place or ())))

    async def about(self, objects: Collection[str]) -> list[dict[str, Any]]:
        """Return the entries of all nodes about any of these objects, oldest first."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        wanted = Wanted(objects=frozenset(objects))
        while objects:
            page = await self.read(None, cursor, BATCH, wanted)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        return found[::-1]

    async def verify(self, told: Sequence[Checkpoint] = ()) -> dict[int, tuple[str, Verdict]]:
        """Check the copy of every node's log, also against `told` checkpoints; return number → name and verdict."""
        async with self._database.reading() as connection:
            names = await self._names(connection)
            found = {}
            for node in (await connection.scalars(sa.select(_AT.node).distinct().order_by(_AT.node))).all():
                verdict = await self._verify(connection, node, [m for m in told if m.node == node])
                found[node] = names.get(node, str(node)), verdict
            return found

    async def marks(self) -> list[Checkpoint]:
        """Return the genuine checkpoints in the copies of this node's log; they count like a witness's checkpoints."""
        async with self._database.reading() as connection:
            return [mark for mark in await _marks(connection, self._node) if mark.genuine(self._key, self._customer)]

    async def _verify(self, connection: AsyncConnection, node: int, told: Sequence[Checkpoint]) -> Verdict:
        starts = await _starts(connection, node)
        try:
            marks = await _marks(connection, node)
        except AuditError as problem:
            return Verdict(0, None, str(problem))
        asked = sa.select(_AT.course, _AT.n, _AT.line).where(_AT.node == node).order_by(_AT.n, _AT.course)
        moved: int | None = None
        with SpooledTemporaryFile(_IN_MEMORY) as lines:
            async with connection.stream(asked) as rows:
                async for course, n, line in rows:
                    if course == _course(starts, n):
                        lines.write(line)
                        moved = n if moved is None and not line.startswith(b'{"n":%d,' % n) else moved
            found = await asyncio.to_thread(self._judge, node, lines, [*marks, *told])
        if moved is not None and found.good:
            return replace(found, bad=moved, fault="is in a row of another number")
        return found

    def _judge(self, node: int, lines: IO[bytes], marks: Sequence[Checkpoint]) -> Verdict:
        accepted = tuple(accepted_in(_each(lines), self._key, self._customer))
        found = verify(self._customer, _each(lines), marks, self._key, [each.loss for each in accepted])
        found = replace(found, accepted=accepted)
        named = named_in(_each(lines))
        if not found.good:
            return found
        if node not in named or any(mark.node not in named for mark in marks):
            return replace(found, fault="is the log of another node")
        if found.proven < found.entries:
            return replace(found, bad=found.proven + 1, fault="has no signed checkpoint yet, nor have those after it")
        return found

    async def _names(self, connection: AsyncConnection) -> Mapping[int, str]:
        names = {self._node: self._label} if self._label else {}
        for known in (journal_mark, nodes):
            for node, label in await connection.execute(sa.select(known.c.node, known.c.label)):
                names |= {node: label} if label else {}
        return names


def _each(lines: IO[bytes]) -> Iterator[bytes]:
    """Yield all lines from the start of the file."""
    lines.seek(0)
    for line in lines:  # noqa: UP028 - `yield from` would close the file with the generator
        yield line


def _entry(ends: Iterator[tuple[int, bytes]], n: int) -> tuple[int, bytes] | None:
    """Return the entry with this number, or else the next older one; None if there is neither."""
    for end, line in ends:
        item = shown(line)
        if item is not None and item["n"] <= n:
            return end, line
    return None


async def _starts(connection: AsyncConnection, node: int) -> list[tuple[int, int]]:
    """Return the number of each course of a log, and of its first entry."""
    asked = sa.select(_AT.course, sa.func.min(_AT.n)).where(_AT.node == node).group_by(_AT.course)
    return [(course, n) for course, n in await connection.execute(asked.order_by(_AT.course))]


def _course(starts: Sequence[tuple[int, int]], n: int) -> int:
    """Return the newest course that has, or had, an entry with this number."""
    return max((course for course, first in starts if first <= n), default=0)


async def _marks(connection: AsyncConnection, node: int) -> list[Checkpoint]:
    asked = sa.select(_AT.mark).where(_AT.node == node, _AT.mark.is_not(None)).order_by(_AT.course, _AT.n)
    return [Checkpoint.parse(mark) for mark in await connection.scalars(asked)]
