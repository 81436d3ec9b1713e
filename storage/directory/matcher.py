"""Matching of the parties of calls with the users of the directory: when a call is written, and afterwards.

    await user_matcher.load(pause)                   read all users into memory; nothing waits for it
    await user_matcher.notice_in(connection)         before calls are written
    row, forms = user_matcher.applied(row, forms)    the row with its users; unmatched until `load` has finished
    changed = await user_matcher.settle(told, pause) match again every call that a change may concern

A party gets `user_id`, or `user_candidates` if several users fit; search finds the call by both. The match is made for
the moment at which the call began (storage.directory.user_lookup), so a call keeps its users when they are renamed,
leave, or pass their number on. The database records what is still to be matched (storage.directory.match_queue), so a
crash loses none of it.

With several nodes, one settles for all. It leaves a live call to the call's own node. That node matches the call
whenever it writes it, and with `settle_live` if the users were not loaded then.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.batches import batches
from storage.calls.call_document import Party, with_parties
from storage.calls.call_index import Calls
from storage.calls.call_row import STATE_CODES, Amended, BadDetails, CallRow, CallState, Query
from storage.calls.day_keys import DayKeys
from storage.calls.sealed_row import open_row
from storage.calls.search import READ_COLUMNS, having
from storage.database.database import Database
from storage.database.schema import calls
from storage.directory import match_queue, party_users
from storage.directory.match_keys import of_identity
from storage.directory.match_queue import Outstanding
from storage.directory.user import User
from storage.directory.user_lookup import UserLookup
from storage.directory.user_store import Users
from storage.errors import Forgotten, SealBroken
from storage.keys.sealing import DeletableKeys
from storage.retention.policy import Policy, with_erase_after
from storage.retention.rules import Rules
from storage.timestamps import to_micros

BATCH = 500  # calls matched in one transaction
AT_ONCE = 20  # users loaded, or calls matched, between two pauses: 5 ms
MANY = 5_000  # changes; if there are more, all users are loaded again, page by page
_COLUMNS = (*READ_COLUMNS, calls.c.version)
_RECORDING = STATE_CODES[CallState.RECORDING]

Pause = Callable[[], Awaitable[object]]


async def no_pause() -> None:
    """Return at once."""


class UserMatcher:
    """Matches the calls of one customer with its users."""

    def __init__(
        self,
        database: Database,
        keys: DeletableKeys,
        calls: Calls,
        users: Users,
        rules: Rules,
        country: str,
        extension_digits: int = 0,
        random: Callable[[int], bytes] = os.urandom,
        *,
        node: int | None = None,
    ) -> None:
        """`node`: number of this node if there are several."""
        self._node = node
        self._database = database
        self._keys = keys
        self._calls = calls
        self._users = users
        self._rules = rules
        self._country = country
        self._extension_digits = extension_digits
        self._random = random
        self._day_keys = DayKeys(keys)
        self._who: UserLookup | None = None
        self._loading = asyncio.Lock()
        self._waiting = 0  # callers that wait for the users to be loaded
        self._seen = 0  # number of the newest change of users that is loaded
        self._newest = 0  # number of the newest change noticed; only grows, as lookups may end out of order

    @property
    def ready(self) -> bool:
        """Return whether calls are matched when they are written."""
        return self._who is not None

    @property
    def who(self) -> UserLookup | None:
        """Return the users in memory, None before they are loaded."""
        return self._who

    @property
    def _behind(self) -> bool:
        """Return whether there are newer changes: another process may already have matched all calls with them."""
        return self._newest > self._seen

    # --- calls that are written -------------------------------------------------------------------------------------

    async def notice_in(self, connection: AsyncConnection) -> None:
        """Look up the newest change of users; calls written before it is loaded stay marked as unmatched.

        A synchronisation in another process matches only the calls that exist then, not those written later. Raises
        StorageError.
        """
        if self._who is not None:
            self._newest = max(await match_queue.newest(connection), self._newest)

    def applied(self, row: CallRow, forms: tuple[str, ...]) -> tuple[CallRow, tuple[str, ...]]:
        """Return a call and its search forms with the users who took part, as far as they are known by now."""
        if self._who is None:
            return row, forms
        parties = row.details.get("parties", ())
        told = party_users.told(self._who, parties, row.started_at)
        details = with_parties(row.details, told) if told else row.details
        return replace(row, details=details, matched=not self._behind), party_users.forms(forms, parties, told)

    def parties(self, parties: Sequence[Party], at: datetime) -> list[Party]:
        """Return the parties of a call that began at this time, with their users as far as they are known yet."""
        return [party.copy() for party in parties] if self._who is None else party_users.told(self._who, parties, at)

    # --- the users ---------------------------------------------------------------------------------------------------

    async def load(self, pause: Pause = no_pause) -> None:
        """Load all users into memory, a few at a time; raises StorageError.

        If another task is loading them already, wait for it instead of loading them twice.
        """
        before = self._who
        async with self._loading:
            if self._who is before:
                await self._load(pause)

    async def load_now(self) -> None:
        """Load the users without pauses because a caller waits, even if loading has begun. Raises StorageError."""
        self._waiting += 1
        try:
            if self._who is None:
                await self.load()
        finally:
            self._waiting -= 1

    async def _load(self, pause: Pause) -> None:
        async with self._database.reading() as connection:
            seen = await match_queue.newest(connection)
        secret, room = self._random(16), await self._users.count()
        who = UserLookup(self._country, secret=secret, room=room, extension_digits=self._extension_digits)
        async for some in self._users.all(AT_ONCE):
            for user in some:
                who.put(user)
            await (asyncio.sleep(0) if self._waiting else pause())
        self._who, self._seen = who, seen

    async def refresh(self, pause: Pause = no_pause, most: int | None = None) -> int:
        """Load the users that have changed since the last time; return how many. Raises StorageError.

        If more than `most` have changed, do nothing and return 0: a caller that waits leaves them for later.
        """
        who = self._who
        if who is None:
            return 0
        async with self._database.reading() as connection:
            news = await match_queue.news(connection, self._seen, MANY if most is None else min(most, MANY))
        if news is None or who.worn:
            if most is not None:
                return 0
            await self.load(pause)
            return len(self._who or ())
        for some in batches(news[1], AT_ONCE):
            now = await self._users.among(some)
            for user in now:
                who.put(user)
            for id in {*some} - {user.id for user in now}:
                who.drop(id)
            await pause()
        if self._who is who:  # all users may have been loaded again meanwhile
            self._seen = max(self._seen, news[0])
        return len(news[1])

    async def at_rest(self) -> bool:
        """Return whether no user has changed and every call is matched; called every few seconds.

        Raises StorageError.
        """
        if self._who is None or self._who.worn:
            return False
        async with self._database.reading() as connection:
            return not await match_queue.anything(connection, self._seen)

    # --- calls that are there ----------------------------------------------------------------------------------------

    async def outstanding(self) -> Outstanding:
        """Count the users and calls that are still to be matched."""
        async with self._database.reading() as connection:
            return await match_queue.look(connection)

    async def settle(
        self, told: Callable[[int, int], None] = lambda done, of: None, pause: Pause = no_pause, batch: int = BATCH
    ) -> int:
        """Match all calls that are still to be matched; return how many gained or lost a user. Raises StorageError.

        `told` gets the number of calls done and the number of calls known so far; `pause` is awaited after every few
        calls. Each batch is one transaction.
        """
        async with self._database.writing() as connection:
            await match_queue.read_as_walk(connection)
        await self.refresh(pause)  # after the marks were read, so that the changes they stand for are loaded
        left = (await self.outstanding()).calls
        done = changed = 0
        async for records, walk in self._batches(batch, pause):
            changed += await self._look(records, walk, pause)
            done += len(records)
            told(done, max(done, left))
        return changed

    async def settle_live(self, pause: Pause = no_pause) -> int:
        """Match the calls that this node is recording and that are still to be matched; return how many changed.

        For a node that leaves all other calls to another node; raises StorageError.
        """
        changed = 0
        mine = sa.and_(~calls.c.matched, calls.c.state == _RECORDING, calls.c.node == self._node)
        while records := await self._read(mine, limit=BATCH):
            changed += await self._look(records, None, pause)
        return changed

    async def _batches(self, size: int, pause: Pause) -> AsyncIterator[tuple[Sequence[Any], int | None]]:
        """Yield calls to be matched, and the leaf that the walk through all calls has reached (None: not the walk)."""
        while records := await self._unmatched(size):
            yield records, None
        while user := await self._stale(pause):
            until = self._seen
            async for records in self._concerned(user, size):
                yield records, None
            async with self._database.writing() as connection:
                await match_queue.fresh(connection, user.id, until)
        while (walk := await self._walk()) is not None:
            records = await self._read(calls.c.leaf < walk, limit=size)
            yield records, records[-1].leaf if len(records) == size else 0

    async def _unmatched(self, size: int) -> Sequence[Any]:
        unmatched = match_queue.unmatched(await self._walk())
        if self._node is not None:
            unmatched = sa.and_(unmatched, sa.or_(calls.c.state != _RECORDING, calls.c.node == self._node))
        return await self._read(unmatched, limit=size)

    async def _walk(self) -> int | None:
        async with self._database.reading() as connection:
            return await match_queue.walk(connection)

    async def _stale(self, pause: Pause) -> User | None:
        """Return a user whose calls are to be matched again; clear the marks of users that are deleted."""
        while True:
            async with self._database.reading() as connection:
                id = await match_queue.stale(connection)
            if id is None:
                return None
            await self.refresh(pause)
            user = await self._users.get(id)
            if user is not None:
                return user
            async with self._database.writing() as connection:
                await match_queue.fresh(connection, id, self._seen)

    async def _concerned(self, user: User, size: int) -> AsyncIterator[Sequence[Any]]:
        """Yield the calls with any present or former value of the user, and those that already have the user."""
        forms = [key for each in user.identities for key in of_identity(each, self._country, self._extension_digits)]
        async with self._database.reading() as connection:
            wanted = [*forms, f"u:{user.id}", f"k:{user.id}"]
            leaves = await having(connection, self._day_keys, wanted, Query())
        for some in batches(leaves, size):
            yield await self._read(calls.c.leaf.in_(some), limit=size)

    async def _read(self, where: sa.ColumnElement[bool], limit: int) -> Sequence[Any]:
        asked = sa.select(*_COLUMNS).where(where).order_by(calls.c.leaf.desc()).limit(limit)
        async with self._database.reading() as connection:
            return (await connection.execute(asked)).all()

    async def _look(self, records: Sequence[Any], walk: int | None, pause: Pause) -> int:
        """Match some calls; write those that changed, and how far the walk has come."""
        policy = await self._rules.policy()
        found: list[Amended] = []
        for some in batches(records, AT_ONCE):
            found += await asyncio.to_thread(self._amended, some, policy)
            await pause()
        if not found and walk is None:
            return 0
        async with self._database.writing() as connection:
            changed = await self._calls.amend(connection, found) if found else 0
            if walk is not None:
                await match_queue.set_walk(connection, walk or None)  # 0: the walk is finished
        return changed

    def _amended(self, records: Sequence[Any], policy: Policy) -> list[Amended]:
        found = (self._amend(record, policy) for record in records)
        return [each for each in found if each is not None]

    def _amend(self, record: Any, policy: Policy) -> Amended | None:
        """Match one call; return None if there is nothing to write."""
        if self._node is not None and record.state == _RECORDING and record.node != self._node:
            return None
        seen = None if record.matched else Amended(record.id, record.leaf, record.version)
        try:
            opened = open_row(self._keys, record)
            if opened is None or self._who is None:
                return seen
            row, forms = opened
            parties = row.details.get("parties", ())
            if not self._who.knows(forms) and not party_users.named(parties):
                return seen
            told = party_users.told(self._who, parties, row.started_at)
            if party_users.same(parties, told):
                return seen
            now = party_users.forms(forms, parties, told)
            row = replace(row, details=with_parties(row.details, told))
            after = with_erase_after(row, now, policy).erase_after
            erase_after = None if after is None else to_micros(after)
            gained, lost = frozenset(now).difference(forms), frozenset(forms).difference(now)
            return Amended(row.id, row.leaf, record.version, self._calls.seal(row, now), erase_after, gained, lost)
        except (SealBroken, BadDetails, Forgotten):
            return seen  # damaged: `recorder verify` reports it; erased meanwhile: there is nothing to write
