"""Find users by a name, a number, an address, as they are or were known.

Where the users are in memory they are asked (storage.whoswho); before that every row is opened, some at a time.
"""

import asyncio
from collections.abc import AsyncIterator
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
    ids = [] if who is None else [id for id in who.find(alternatives) if id > after]
    async for user in _all(users, after, state) if who is None else _among(users, ids):
        if state is not None and user.state is not state:
            continue
        if who is None and not identities.answers(user.identities, user.person, alternatives, country):
            continue
        found.append(user)
        if len(found) > limit:
            return tuple(found[:limit]), found[limit - 1].id
    return tuple(found), None


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
