"""Directory users: kept sealed under a leaf of their own, mapped or not, deleted by a cut.

    page = await customer.users.listed(limit, cursor)             Users, by the id we gave them
    user = await customer.users.get(id)                           User or None
    ids  = await customer.users.calls_of(user)                    calls that refer to the user in any way it is known by
    user = await customer.users.unmap(id)                         User or None
    gone = await customer.users.delete(id)                        False if there is none; raises Mapped, Referred
    plan = await customer.users.plan(people, source, whole)       what an import would change
    await customer.users.carry_out(plan)

The life of a user: *active* while the directory has it, *inactive* from then on, and deletable once no recording
refers to it. What a user is known by changes only in the directory; what it was known by before stays beside it with
the time until when, because recordings refer to people as they were then.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import papers
from storage.calls import Calls, Query
from storage.erasurerows import batches
from storage.errors import Forgotten, StorageError
from storage.instants import to_micros, to_text
from storage.journal import BATCH, Cabinet, Drawer
from storage.keytree import LAST_LEAF
from storage.newid import new_id
from storage.people import Change, Former, Person, User, UserState, former_of, shown, told
from storage.tables import users

__all__ = ["Former", "Mapped", "Person", "Plan", "Referred", "User", "UserState", "Users"]

LABEL_DIRECTORY = "directory"  # of the last leaf, which nobody cuts: the key of `source_key`
MAX_PAGE = 1000
_KIND = "user"


class Mapped(StorageError):
    """The directory still has this user."""


class Referred(StorageError):
    """Recordings refer to this user."""


class Plan:
    """What an import would change."""

    def __init__(self, source: str) -> None:
        self.source = source
        # the directory: csv, api, entra
        self.added: list[Person] = []
        # people whom we do not know
        self.changed: list[tuple[User, Person]] = []
        # users that are known otherwise now, or are back
        self.unmapped: list[User] = []
        # users whom the directory has no more
        self.same = 0
        # users of whom nothing changes
        self.active = 0
        # users of this directory that are active now

    def take(self, user: User | None, change: Change) -> None:
        """Add what a change means for a user, None if we do not know the person."""
        if change.gone:
            if user is not None and user.state is UserState.ACTIVE:
                self.unmapped.append(user)
            return
        person = change.over(user.person if user else None)
        if user is None:
            self.added.append(person)
        elif user.person != person or user.state is UserState.INACTIVE:
            self.changed.append((user, person))
        else:
            self.same += 1

    def pieces(self, size: int) -> Iterator["Plan"]:
        """Cut the plan, so that carrying it out keeps nobody waiting for the database for long."""
        for name in ("added", "changed", "unmapped"):
            entries: list[Any] = getattr(self, name)
            for start in range(0, len(entries), size):
                piece = Plan(self.source)
                setattr(piece, name, entries[start : start + size])
                yield piece

    @property
    def size(self) -> int:
        """Return how many users change."""
        return len(self.added) + len(self.changed) + len(self.unmapped)

    @property
    def counts(self) -> dict[str, int]:
        """Return how many users each change concerns."""
        return {
            "added": len(self.added),
            "changed": len(self.changed),
            "unmapped": len(self.unmapped),
            "unchanged": self.same,
        }

    @property
    def unmapped_percent(self) -> float:
        """Return the share of the active users that would become inactive."""
        return 100 * len(self.unmapped) / self.active if self.active else 0.0


class Users(Drawer):
    """The directory users of one customer."""

    def __init__(self, cabinet: Cabinet, calls: Calls) -> None:
        super().__init__(cabinet)
        self._calls = calls

    async def get(self, id: str) -> User | None:
        """Return a user, None if there is none."""
        async with self._database.reading() as connection:
            record = (await connection.execute(sa.select(users).where(users.c.id == id))).first()
        return None if record is None else self._open(record)

    async def listed(self, limit: int, after: str = "") -> tuple[tuple[User, ...], str | None]:
        """Return users in the order of their ids, and the id that the next page begins after."""
        limit = max(1, min(limit, MAX_PAGE))
        asked = sa.select(users).where(users.c.id > after).order_by(users.c.id).limit(limit + 1)
        async with self._database.reading() as connection:
            records = list(await connection.execute(asked))
        found = [self._open(record) for record in records[:limit]]
        more = records[limit - 1].id if len(records) > limit else None
        return tuple(user for user in found if user is not None), more

    async def calls_of(self, user: User, limit: int | None = None) -> tuple[str, ...]:
        """Return ids of calls that refer to a user by anything it is or was known by; `limit` is enough."""
        found: dict[str, None] = {}
        for text in user.known_by:
            async for batch in self._calls.in_batches(Query(party=text, exact=True), 200):
                found.update((row.id, None) for row in batch.open())
                if limit is not None and len(found) >= limit:
                    return tuple(found)[:limit]
        return tuple(found)

    async def unmap(self, id: str) -> User | None:
        """Say that the directory has a user no more; a second time changes nothing."""
        async with self._database.writing() as connection:
            mapped = sa.and_(users.c.id == id, users.c.state == UserState.ACTIVE.value)
            now = to_micros(self._now())
            gone = {"state": UserState.INACTIVE.value, "unmapped_at": now, "updated_at": now}
            await connection.execute(users.update().where(mapped).values(**gone))
            await self._journal.keep(connection, users, users.c.id == id)
        return await self.get(id)

    async def delete(self, id: str, told: Callable[[], Awaitable[None]] | None = None) -> bool:
        """Delete a user for good; False if there is none. `told` writes it down first. Raises Mapped, Referred."""
        user = await self.get(id)
        if user is None:
            return False
        if user.state is UserState.ACTIVE:
            raise Mapped("the directory still has this user", "take the user out of the directory first")
        if await self.calls_of(user, 1):
            raise Referred("recordings refer to this user", "the user can be deleted once they are gone")
        if told is not None:
            await told()
        await asyncio.to_thread(self._keys.cut, user.leaf)
        async with self._database.writing() as connection:
            await connection.execute(users.delete().where(users.c.id == id, users.c.leaf == user.leaf))
        await self._database.scrub()
        return True

    # --- from the directory ------------------------------------------------------------------------------------------

    async def plan(self, people: Iterable[Person], source: str, *, whole: bool) -> Plan:
        """Compare what a directory says with what is kept; `whole`: whoever is not named has left it."""
        plan = Plan(source)
        known = {user.key: user for user in await self._of(source)}
        plan.active = sum(user.state is UserState.ACTIVE for user in known.values())
        seen = set()
        for number, person in enumerate(people):
            await _yield(number)
            key = self._key(source, person)
            if key in seen:
                continue
            seen.add(key)
            user = known.get(key)
            if user is None:
                plan.added.append(person)
            elif user.person != person or user.state is UserState.INACTIVE:
                plan.changed.append((user, person))
            else:
                plan.same += 1
        if whole:
            plan.unmapped = [u for k, u in known.items() if k not in seen and u.state is UserState.ACTIVE]
        return plan

    async def plan_changes(self, changes: Iterable[Change], source: str) -> Plan:
        """Compare what a directory says has changed, one change a person, with what is kept."""
        plan = Plan(source)
        plan.active = await self.active(source)
        for some in batches(list(changes)):
            wanted = {self._key(source, change.over(None)): change for change in some}
            known = {user.key: user for user in await self._of(source, users.c.source_key.in_(wanted))}
            for key, change in wanted.items():
                plan.take(known.get(key), change)
        return plan

    async def active(self, source: str) -> int:
        """Return how many users of a directory are active."""
        asked = sa.select(sa.func.count()).where(users.c.source == source, users.c.state == UserState.ACTIVE.value)
        async with self._database.reading() as connection:
            return int(await connection.scalar(asked) or 0)

    async def carry_out(self, plan: Plan) -> None:
        """Do what a plan says, all or nothing."""
        now = self._now()
        async with self._database.writing() as connection:
            await self._sweep(connection, [self._key(plan.source, person) for person in plan.added])
            told_of = [await self._add(connection, plan.source, person, now) for person in plan.added]
            for user, person in plan.changed:
                former = former_of(user, person, to_text(now))
                sealed = papers.seal(self._keys, user.leaf, _KIND, user.id, told(person, former))
                state = {"state": UserState.ACTIVE.value, "unmapped_at": None}
                values = {**state, "updated_at": to_micros(now), "sealed": sealed}
                await connection.execute(users.update().where(users.c.id == user.id).values(**values))
            for user in plan.unmapped:
                gone = {"state": UserState.INACTIVE.value, "unmapped_at": to_micros(now), "updated_at": to_micros(now)}
                await connection.execute(users.update().where(users.c.id == user.id).values(**gone))
            told_of += [user.id for user, _ in plan.changed] + [user.id for user in plan.unmapped]
            for start in range(0, len(told_of), BATCH):
                await self._journal.keep(connection, users, users.c.id.in_(told_of[start : start + BATCH]))

    async def _add(self, connection: AsyncConnection, source: str, person: Person, now: datetime) -> str:
        id, leaf = new_id(self._random), papers.new_leaf(self._keys)
        values = {
            "id": id,
            "state": UserState.ACTIVE.value,
            "source": source,
            "source_key": self._key(source, person),
            "updated_at": to_micros(now),
            "unmapped_at": None,
            "leaf": leaf,
            "sealed": papers.seal(self._keys, leaf, _KIND, id, told(person, ())),
        }
        await connection.execute(users.insert(), values)
        return id

    async def _sweep(self, connection: AsyncConnection, keys: Sequence[bytes]) -> None:
        """Take rows away whose deletion was interrupted and whose key in the directory is needed again."""
        for start in range(0, len(keys), BATCH):
            asked = sa.select(users.c.id, users.c.leaf).where(users.c.source_key.in_(keys[start : start + BATCH]))
            for record in list(await connection.execute(asked)):
                if not self._keys.keeps(record.leaf):
                    await connection.execute(users.delete().where(users.c.id == record.id))

    async def _of(self, source: str, *where: sa.ColumnElement[bool]) -> Sequence[User]:
        """Return users of a directory, a batch at a time: opening them takes a while, and others have their turn."""
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
        """Return what tells a user of a directory apart, without saying who it is."""
        key = self._keys.secret(LAST_LEAF, LABEL_DIRECTORY)
        return hmac.digest(key, f"{source}\0{person.key}".encode("utf-8", "surrogatepass"), hashlib.sha256)

    def _open(self, record: Any) -> User | None:
        try:
            return shown(record, papers.unseal(self._keys, record.leaf, _KIND, record.id, record.sealed))
        except Forgotten:
            return None


async def _yield(number: int) -> None:
    """Give others their turn every so often."""
    if number % BATCH == BATCH - 1:
        await asyncio.sleep(0)
