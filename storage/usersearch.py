"""Find users by a name, a number, an address, as they are or were known.

Where the users are in memory they are asked (storage.whoswho); before that every row is opened, some at a time. Words
are found by their first letters.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import islice

from storage import identities
from storage.people import User, UserState
from storage.users import Users
from storage.whoswho import WhosWho

BATCH = 60  # users opened between two turns of the event loop: 5 ms
Found = tuple[tuple[User, ...], str | None]


async def find(
    users: Users,
    who: WhosWho | None,
    text: str,
    country: str,
    *,
    limit: int,
    after: str = "",
    state: UserState | None = None,
) -> Found:
    """Return users who are meant, in the order of their ids, and the id that the next page begins after."""
    alternatives = identities.asked(text, country)
    found: list[User] = []
    meant = None if who is None else await asyncio.to_thread(_Meant, who, alternatives, after)  # one letter: 0.2 s
    async for user in _all(users, after, state) if meant is None else _among(users, meant.ids):
        if state is not None and user.state is not state:
            continue
        if meant is None and not identities.answers(user.identities, user.person, alternatives, country):
            continue
        if meant is not None and not meant.is_one(user):
            continue
        found.append(user)
        if len(found) > limit:
            return tuple(found[:limit]), found[limit - 1].id
    return tuple(found), None


class _Meant:
    """Users who may be meant, by what is in memory: of words that is only how they begin."""

    def __init__(self, who: WhosWho, alternatives: Sequence[Sequence[str]], after: str) -> None:
        self._words = [each for each in alternatives if identities.worded(each)]
        self._sure = set(who.find(each for each in alternatives if not identities.worded(each)))
        perhaps = who.find(map(identities.leads, self._words))
        self.ids = sorted(each for each in self._sure.union(perhaps) if each > after)  # those who may be meant

    def is_one(self, user: User) -> bool:
        """Say whether a user is meant."""
        return user.id in self._sure or any(identities.named(user.person, each) for each in self._words)


async def _among(users: Users, ids: list[str]) -> AsyncIterator[User]:
    wanted = iter(ids)
    while some := list(islice(wanted, BATCH)):
        for user in await users.among(some):
            yield user


async def _all(users: Users, after: str, state: UserState | None) -> AsyncIterator[User]:
    more: str | None = after
    while more is not None:
        some, more = await users.listed(BATCH, more, state)
        for user in some:
            yield user
        await asyncio.sleep(0)
