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
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import papers
from storage.calls import Calls, Query
from storage.database import Database
from storage.errors import Forgotten, StorageError
from storage.instants import to_micros, to_text
from storage.keytree import LAST_LEAF
from storage.newid import new_id
from storage.people import Former, Person, User, UserState, former_of, shown, told
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

    @property
    def unmapped_percent(self) -> float:
        """Return the share of the active users that would become inactive."""
        return 100 * len(self.unmapped) / self.active if self.active else 0.0


class Users:
    """The directory users of one customer."""

    def __init__(
        self,
        database: Database,
        keys: papers.Keeper,
        calls: Calls,
        now: Callable[[], datetime],
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._keys = keys
        self._calls = calls
        self._now = now
        self._random = random

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
        return await self.get(id)

    async def delete(self, id: str) -> bool:
        """Delete a user for good; False if there is none. Raises Mapped, Referred."""
        user = await self.get(id)
        if user is None:
            return False
        if user.state is UserState.ACTIVE:
            raise Mapped("the directory still has this user", "take the user out of the directory first")
        if await self.calls_of(user, 1):
            raise Referred("recordings refer to this user", "the user can be deleted once they are gone")
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
        for person in people:
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

    async def carry_out(self, plan: Plan) -> None:
        """Do what a plan says, all or nothing."""
        now = self._now()
        async with self._database.writing() as connection:
            await self._sweep(connection)
            for person in plan.added:
                await self._add(connection, plan.source, person, now)
            for user, person in plan.changed:
                former = former_of(user, person, to_text(now))
                sealed = papers.seal(self._keys, user.leaf, _KIND, user.id, told(person, former))
                state = {"state": UserState.ACTIVE.value, "unmapped_at": None}
                values = {**state, "updated_at": to_micros(now), "sealed": sealed}
                await connection.execute(users.update().where(users.c.id == user.id).values(**values))
            for user in plan.unmapped:
                gone = {"state": UserState.INACTIVE.value, "unmapped_at": to_micros(now), "updated_at": to_micros(now)}
                await connection.execute(users.update().where(users.c.id == user.id).values(**gone))

    async def _add(self, connection: AsyncConnection, source: str, person: Person, now: datetime) -> None:
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

    async def _sweep(self, connection: AsyncConnection) -> None:
        """Take rows away whose deletion was interrupted: their key in the directory may be needed again."""
        for record in list(await connection.execute(sa.select(users.c.id, users.c.leaf))):
            if not self._keys.keeps(record.leaf):
                await connection.execute(users.delete().where(users.c.id == record.id))

    async def _of(self, source: str) -> Sequence[User]:
        async with self._database.reading() as connection:
            records = list(await connection.execute(sa.select(users).where(users.c.source == source)))
        return [user for user in map(self._open, records) if user is not None]

    def _key(self, source: str, person: Person) -> bytes:
        """Return what tells a user of a directory apart, without saying who it is."""
        key = self._keys.secret(LAST_LEAF, LABEL_DIRECTORY)
        return hmac.digest(key, f"{source}\0{person.key}".encode("utf-8", "surrogatepass"), hashlib.sha256)

    def _open(self, record: Any) -> User | None:
        try:
            return shown(record, papers.unseal(self._keys, record.leaf, _KIND, record.id, record.sealed))
        except Forgotten:
            return None
