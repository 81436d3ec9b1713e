"""Directory users: each sealed under a leaf of its own, and deleted by cutting that leaf.

    page = await customer.users.listed(limit, cursor)             users in the order of their ids
    user = await customer.users.get(id)                           User or None
    ids  = await customer.users.calls_of(user)                    calls that the user took part in, or may have
    user = await customer.users.unmap(id)                         User or None
    gone = await customer.users.delete(id)                        False if there is none; raises Mapped, Referred
    plan = await customer.users.plan(people, source, whole)       the changes that an import would make
    plan = await customer.users.one(person, source, user)         the same for a single person
    async with customer.users.changing:                           held from plan to carry_out: a plan goes stale
    await customer.users.carry_out(plan)
    await customer.users.completed(plan)                          the directory has now been read in full

A user is *active* while the directory has it and *inactive* afterwards, and can be deleted once no recording refers to
it. Only the directory changes the values of a user. Earlier values are kept with the time at which they ended, because
recordings refer to people as they were at the time of the call.
"""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from personal import Personal
from storage.batches import BATCH, batches
from storage.calls.call_index import Calls, Query
from storage.database.schema import directories, export_calls, exports, users
from storage.directory import match_queue
from storage.directory.user import Change, Person, Since, User, UserState, by_name, former_of, later_of, shown, told
from storage.errors import Forgotten, StorageError
from storage.ids import new_id
from storage.journal.journal import JournaledDatabase, JournaledRows
from storage.keys import sealing
from storage.keys.key_tree import LAST_LEAF
from storage.timestamps import from_micros, from_text, to_micros, to_text

__all__ = ["Mapped", "Plan", "Referred", "User", "Users"]

LABEL_DIRECTORY = "directory"  # label of the key of `source_key`: a secret of the last leaf, never cut
MAX_PAGE = 1000
MOST_SORTED = 20_000  # users that are opened to sort them by name: 2 s after a change, 5 ms at a time
READ_AHEAD = 60  # users opened at once when all are read: 5 ms
_KIND = "user"


class Mapped(StorageError):
    """The directory still has this user."""


class Referred(StorageError):
    """Recordings refer to this user."""


class Plan:
    """The changes that an import would make; counted first, and then carried out piece by piece."""

    def __init__(self, source: str, since: Since, active: int = 0) -> None:
        # the directory: csv, api, entra
        self.source = source
        # from when the new values hold
        self.since = since
        # people without a user
        self.added: list[Person] = []
        # users that changed or have returned
        self.changed: list[tuple[User, Person]] = []
        # users that have left the directory
        self.unmapped: list[User] = []
        # number of unchanged users
        self.same = 0
        # number of users of this directory that are active now
        self.active = active

    def change(self, user: User | None, change: Change) -> None:
        """Add a reported change of a user; `user` is None if the person has none."""
        if not change.gone:
            self.take(user, change.over(user.person if user else None))
        elif user is not None:
            self.leave(user)

    def leave(self, user: User) -> None:
        """Add a user whom the directory no longer has."""
        if user.state is UserState.ACTIVE:
            self.unmapped.append(user)

    def take(self, user: User | None, person: Person) -> None:
        """Add a person of the directory; `user` is None if the person has none."""
        if user is None:
            self.added.append(person)
        elif user.person != person or user.state is UserState.INACTIVE:
            self.changed.append((user, person))
        else:
            self.same += 1

    def pieces(self, size: int) -> Iterator["Plan"]:
        """Yield the plan in pieces, so that carrying it out never blocks the database for long."""
        for name in ("added", "changed", "unmapped"):
            entries: list[Any] = getattr(self, name)
            for some in batches(entries, size):
                piece = Plan(self.source, self.since)
                setattr(piece, name, some)
                yield piece

    @property
    def size(self) -> int:
        """Return how many users the plan changes."""
        return len(self.added) + len(self.changed) + len(self.unmapped)

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of users for each kind of change."""
        return {
            "added": len(self.added),
            "changed": len(self.changed),
            "unmapped": len(self.unmapped),
            "unchanged": self.same,
        }

    def asks(self, percent: float) -> bool:
        """Return whether so many active users would become inactive that the import asks first.

        The import never asks about a single user, or no user could leave a company of ten; at 0 percent it asks about
        every user.
        """
        many = len(self.unmapped) > 1 or (not percent and bool(self.unmapped))
        return many and 100 * len(self.unmapped) > percent * self.active


class Users(JournaledRows):
    """The directory users of one customer."""

    def __init__(self, store: JournaledDatabase, calls: Calls, unfinished: Callable[[], Sequence[int]]) -> None:
        """Take `unfinished`, which returns the leaves of pages that a synchronisation has read so far."""
        super().__init__(store)
        self._calls = calls
        self._unfinished = unfinished
        self._order: tuple[tuple[int, ...], tuple[str, ...]] | None = None
        self.changing = asyncio.Lock()  # held from planning to carrying out, against other tasks of this process

    async def get(self, id: str) -> User | None:
        """Return a user, None if there is none."""
        async with self._database.reading() as connection:
            record = (await connection.execute(sa.select(users).where(users.c.id == id))).first()
        return None if record is None else self._open(record)

    async def listed(
        self, limit: int, after: str = "", state: UserState | None = None
    ) -> tuple[tuple[User, ...], str | None]:
        """Return users in the order of their ids, and the id after which the next page begins."""
        limit = max(1, min(limit, MAX_PAGE))
        asked = sa.select(users).where(users.c.id > after).order_by(users.c.id).limit(limit + 1)
        if state is not None:
            asked = asked.where(users.c.state == state.value)
        async with self._database.reading() as connection:
            records = list(await connection.execute(asked))
        found = [self._open(record) for record in records[:limit]]
        more = records[limit - 1].id if len(records) > limit else None
        return tuple(user for user in found if user is not None), more

    async def among(self, ids: Sequence[str], state: UserState | None = None) -> tuple[User, ...]:
        """Return the users with these ids (at most BATCH) that exist, in the order given."""
        asked = sa.select(users).where(users.c.id.in_(ids))
        if state is not None:
            asked = asked.where(users.c.state == state.value)
        async with self._database.reading() as connection:
            found = [self._open(record) for record in await connection.execute(asked)]
        there = {user.id: user for user in found if user is not None}
        return tuple(there[id] for id in ids if id in there)

    async def order(self) -> Sequence[str] | None:
        """Return the ids of all users sorted by name, None if there are too many to sort.

        Every user is opened for this, once after each change; only ids are kept in memory, no names.
        """
        asked = sa.select(sa.func.count(), sa.func.max(users.c.updated_at))
        async with self._database.reading() as connection:
            signs = tuple((await connection.execute(asked)).one())
        if signs[0] > MOST_SORTED:
            return None
        if self._order is None or self._order[0] != signs:
            named: list[tuple[tuple[bool, str, str], str]] = []
            async for some in self.all(READ_AHEAD):
                named += [(by_name(user.person.shown), user.id) for user in some]
                await asyncio.sleep(0)
            self._order = signs, tuple(id for _, id in sorted(named))
        return self._order[1]

    async def known(self, source: str, person: Person) -> User | None:
        """Return the user that a person of a directory stands for, None if there is none yet."""
        found = await self._of(source, users.c.source_key == self._key(source, person))
        return found[0] if found else None

    async def calls_of(self, user: User, limit: int | None = None) -> tuple[str, ...]:
        """Return ids of the calls that a user took part in, or may have; stop at `limit`.

        Until all calls are matched (`settled`), include calls with any present or former value of the user.
        """
        found: dict[str, None] = {}
        for query in (Query(user=user.id), *await self._by_name(user)):
            async for batch in self._calls.in_batches(query, 200):
                found.update((row.id, None) for row in await asyncio.to_thread(batch.open))
                if limit is not None and len(found) >= limit:
                    return tuple(found)[:limit]
        return tuple(found)

    async def sure_calls_of(self, user: User) -> tuple[str, ...]:
        """Return ids of the calls that a user certainly took part in."""
        found: list[str] = []
        async for batch in self._calls.in_batches(Query(party=Personal(user.id), exact=True), 200):
            found += [row.id for row in await asyncio.to_thread(batch.open)]
        return tuple(found)

    async def settled(self, user: User) -> bool:
        """Return whether all calls were matched with the present values of this user."""
        async with self._database.reading() as connection:
            return await match_queue.settled(connection, user.id)

    async def _by_name(self, user: User) -> list[Query]:
        """Return queries for all present and former values of a user; none once all calls are matched."""
        return [] if await self.settled(user) else [Query(party=Personal(text), exact=True) for text in user.known_by]

    async def unmap(self, id: str) -> User | None:
        """Note that a user is no longer in the directory; idempotent."""
        async with self._database.writing() as connection:
            mapped = sa.and_(users.c.id == id, users.c.state == UserState.ACTIVE.value)
            now = to_micros(self._now())
            gone = {"state": UserState.INACTIVE.value, "unmapped_at": now, "updated_at": now}
            if (await connection.execute(users.update().where(mapped).values(**gone))).rowcount:
                await match_queue.mark(connection, [id])
            await self._journal.keep(connection, users, users.c.id == id)
        return await self.get(id)

    async def delete(self, id: str, told: Callable[[], Awaitable[None]] | None = None) -> bool:
        """Delete a user; False if there is none. `told` writes the audit log first. Raises Mapped, Referred."""
        user = await self.get(id)
        if user is None:
            return False
        if user.state is UserState.ACTIVE:
            raise Mapped("the directory still has this user", "take the user out of the directory first")
        if await self.calls_of(user, 1):
            raise Referred("recordings refer to this user", "the user can be deleted once they are gone")
        mine = sa.and_(users.c.id == id, users.c.leaf == user.leaf)
        async with self._database.writing() as connection:
            state = await connection.scalar(sa.select(users.c.state).where(mine).with_for_update())
            if state is None:
                return False
            if state == UserState.ACTIVE.value:  # the directory took the user back a moment ago
                raise Mapped("the directory still has this user", "take the user out of the directory first")
            if told is not None:
                await told()
            holding = exports.join(export_calls, export_calls.c.export == exports.c.id)
            held = sa.select(exports.c.leaf).select_from(holding).where(export_calls.c.call == id)
            leaves = [leaf for leaf in await connection.scalars(held) if self._keys.keeps(leaf)]
            unfinished = await asyncio.to_thread(self._unfinished)
            await self._cutter.cut(user.leaf, *leaves, *unfinished)  # also reports that contain the user's record
            await connection.execute(users.delete().where(mine))
            await match_queue.mark(connection, [id])  # processes that have the user in memory drop it
        await self._database.scrub()
        return True

    # --- from the directory ------------------------------------------------------------------------------------------

    async def plan(self, people: Iterable[Person], source: str, *, whole: bool) -> Plan:
        """Compare a directory with the stored users; `whole`: users that are missing in it have left."""
        since = await self._since(source, whole=whole)
        known = {user.key: user for user in await self._of(source)}
        plan = Plan(source, since, sum(user.state is UserState.ACTIVE for user in known.values()))
        seen = set()
        for number, person in enumerate(people):
            await _yield(number)
            key = self._key(source, person)
            if key in seen:
                continue
            seen.add(key)
            plan.take(known.get(key), person)
        for key, user in known.items():
            if whole and key not in seen:
                plan.leave(user)
        return plan

    async def plan_changes(self, changes: Iterable[Change], source: str) -> Plan:
        """Compare the changes that a directory reports, one for each person, with the stored users."""
        plan = Plan(source, await self._since(source, whole=True), await self.active(source))
        for some in batches(list(changes)):
            wanted = {self._key(source, change.over(None)): change for change in some}
            known = {user.key: user for user in await self._of(source, users.c.source_key.in_(wanted))}
            for key, change in wanted.items():
                plan.change(known.get(key), change)
        return plan

    async def one(self, person: Person, source: str, user: User | None = None) -> Plan:
        """Plan for a single person: a new user, or a change of an existing one."""
        plan = Plan(source, await self._since(source, whole=False))
        plan.take(user, person)
        return plan

    async def completed(self, plan: Plan) -> None:
        """Record that the directory was read in full, once the plan is carried out: later people were not in it."""
        at = to_micros(from_text(plan.since.at))
        async with self._database.writing() as connection:
            mine = directories.c.source == plan.source
            if not (await connection.execute(directories.update().where(mine).values(last_at=at))).rowcount:
                await connection.execute(directories.insert(), {"source": plan.source, "first_at": at, "last_at": at})
            await self._journal.keep(connection, directories, mine)

    async def _since(self, source: str, *, whole: bool) -> Since:
        """Return since when new values hold: at the earliest since the directory was last read in full."""
        asked = sa.select(directories.c.last_at).where(directories.c.source == source)
        async with self._database.reading() as connection:
            before = await connection.scalar(asked) if whole else None
        return Since(to_text(self._now()), None if before is None else to_text(from_micros(before)))

    async def count(self) -> int:
        """Count the users."""
        async with self._database.reading() as connection:
            return int(await connection.scalar(sa.select(sa.func.count()).select_from(users)) or 0)

    async def all(self, size: int) -> AsyncIterator[list[User]]:
        """Yield all users, `size` at a time."""
        after = ""
        while True:
            found, more = await self.listed(READ_AHEAD, after)
            for part in batches(found, size):
                yield list(part)
            if more is None:
                return
            after = more

    async def active(self, source: str) -> int:
        """Return how many users of a directory are active."""
        asked = sa.select(sa.func.count()).where(users.c.source == source, users.c.state == UserState.ACTIVE.value)
        async with self._database.reading() as connection:
            return int(await connection.scalar(asked) or 0)

    async def carry_out(self, plan: Plan) -> None:
        """Carry out a plan in one transaction."""
        now = self._now()
        async with self._database.writing() as connection:
            await self._sweep(connection, [self._key(plan.source, person) for person in plan.added])
            told_of = [await self._add(connection, plan, person, now) for person in plan.added]
            told_of += [await self._change(connection, plan, user, person, now) for user, person in plan.changed]
            for user in plan.unmapped:
                gone = {"state": UserState.INACTIVE.value, "unmapped_at": to_micros(now), "updated_at": to_micros(now)}
                await connection.execute(users.update().where(users.c.id == user.id).values(**gone))
            told_of += [user.id for user in plan.unmapped]
            await match_queue.mark(connection, told_of)
            for part in batches(told_of):
                await self._journal.keep(connection, users, users.c.id.in_(part))

    async def _add(self, connection: AsyncConnection, plan: Plan, person: Person, now: datetime) -> str:
        id, leaf = new_id(self._random), sealing.new_leaf(self._keys)
        values = {
            "id": id,
            "state": UserState.ACTIVE.value,
            "source": plan.source,
            "source_key": self._key(plan.source, person),
            "updated_at": to_micros(now),
            "unmapped_at": None,
            "leaf": leaf,
            "sealed": sealing.seal(self._keys, leaf, _KIND, id, told(person, (), plan.since, {})),
        }
        await connection.execute(users.insert(), values)
        return id

    async def _change(self, connection: AsyncConnection, plan: Plan, user: User, person: Person, now: datetime) -> str:
        """Write a changed user; if it was deleted since the plan was made, add it as a new user."""
        former, later = former_of(user, person, plan.since.at), later_of(user, person, plan.since)
        key = self._key(plan.source, person)  # differs if the member that identifies the person changed
        values = {"state": UserState.ACTIVE.value, "unmapped_at": None, "source_key": key, "updated_at": to_micros(now)}
        try:
            sealed = sealing.seal(self._keys, user.leaf, _KIND, user.id, told(person, former, user.since, later))
        except Forgotten:
            await self._sweep(connection, [key])
            return await self._add(connection, plan, person, now)
        mine = sa.and_(users.c.id == user.id, users.c.leaf == user.leaf)
        changed = await connection.execute(users.update().where(mine).values(**values, sealed=sealed))
        return user.id if changed.rowcount else await self._add(connection, plan, person, now)

    async def _sweep(self, connection: AsyncConnection, keys: Sequence[bytes]) -> None:
        """Delete rows whose deletion was interrupted and whose directory key is needed again."""
        for part in batches(keys):
            asked = sa.select(users.c.id, users.c.leaf).where(users.c.source_key.in_(part))
            for record in list(await connection.execute(asked)):
                if not self._keys.keeps(record.leaf):
                    await connection.execute(users.delete().where(users.c.id == record.id))

    async def _of(self, source: str, *where: sa.ColumnElement[bool]) -> Sequence[User]:
        """Return users of a directory, read in batches, because opening them takes a while and must not block."""
        found: list[User] = []
        after = ""
        while True:
            asked = sa.select(users).where(users.c.source == source, users.c.id > after, *where)
            async with self._database.reading() as connection:
                records = list(await connection.execute(asked.order_by(users.c.id).limit(BATCH)))
            found += [user for user in map(self._open, records) if user is not None]
            if len(records) < BATCH:
                return found
            after = records[-1].id

    def _key(self, source: str, person: Person) -> bytes:
        """Return a keyed hash that identifies a user of a directory without revealing who it is."""
        key = self._keys.secret(LAST_LEAF, LABEL_DIRECTORY)
        return hmac.digest(key, f"{source}\0{person.key}".encode("utf-8", "surrogatepass"), hashlib.sha256)

    def _open(self, record: Any) -> User | None:
        try:
            return shown(record, sealing.unseal(self._keys, record.leaf, _KIND, record.id, record.sealed))
        except Forgotten:
            return None


async def _yield(number: int) -> None:
    """Let other tasks run after every BATCH users."""
    if number % BATCH == BATCH - 1:
        await asyncio.sleep(0)
