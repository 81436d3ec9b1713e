"""Lists of users by name, and search by a present or former name, number or address.

If the users are in memory, search looks there (storage.directory.user_lookup); before they are loaded, it opens every
row, a few at a time. Words are found by their first letters.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import islice

from storage.cursors import BadCursor
from storage.directory import match_keys
from storage.directory.user import User, UserState
from storage.directory.user_lookup import UserLookup
from storage.directory.user_store import Users

BATCH = 60  # users opened before other tasks run: 5 ms
Found = tuple[tuple[User, ...], str | None]


async def find(
    users: Users,
    who: UserLookup | None,
    text: str | None,
    country: str,
    *,
    limit: int,
    after: str = "",
    state: UserState | None = None,
) -> Found:
    """Return users that fit `text` (None: all), sorted by name, and the id after which the next page begins.

    If there are too many users to sort, they come in the order of their ids. Raises BadCursor if the user after whom
    to begin no longer exists.
    """
    order = await users.order()
    if text is None and order is None:
        return await users.listed(limit, after, state)
    if order is not None and after:
        if after not in order:
            raise BadCursor("the user that the page begins after no longer exists")
        order = order[order.index(after) + 1 :]
    alternatives = () if text is None else match_keys.asked(text, country)
    found: list[User] = []
    known = None if text is None else who
    meant = None if known is None else await asyncio.to_thread(_Meant, known, alternatives)  # a single letter: 0.2 s
    async for user in _in_turn(users, order, meant, after, state):
        if (
            text is not None
            and meant is None
            and not match_keys.answers(user.identities, user.person, alternatives, country)
        ):
            continue
        if meant is not None and not meant.is_one(user):
            continue
        found.append(user)
        if len(found) > limit:
            return tuple(found[:limit]), found[limit - 1].id
    return tuple(found), None


class _Meant:
    """Users in memory who may fit a search; for words, only their first letters are compared here."""

    def __init__(self, who: UserLookup, alternatives: Sequence[Sequence[str]]) -> None:
        self._words = [each for each in alternatives if match_keys.worded(each)]
        self._sure = set(who.find(each for each in alternatives if not match_keys.worded(each)))
        perhaps = who.find(map(match_keys.leads, self._words))
        self.ids = self._sure.union(perhaps)  # users who may fit

    def is_one(self, user: User) -> bool:
        """Return whether a user really fits."""
        return user.id in self._sure or any(match_keys.named(user.person, each) for each in self._words)


def _in_turn(
    users: Users, order: Sequence[str] | None, meant: _Meant | None, after: str, state: UserState | None
) -> AsyncIterator[User]:
    """Yield users who may fit, in the order of the list."""
    if order is None and meant is None:
        return _all(users, after, state)
    if order is None:
        ids = sorted(each for each in meant.ids if each > after) if meant else []
    else:
        ids = [each for each in order if meant is None or each in meant.ids]
    return _among(users, ids, state)


async def _among(users: Users, ids: list[str], state: UserState | None) -> AsyncIterator[User]:
    wanted = iter(ids)
    while some := list(islice(wanted, BATCH)):
        for user in await users.among(some, state):
            yield user
        await asyncio.sleep(0)


async def _all(users: Users, after: str, state: UserState | None) -> AsyncIterator[User]:
    more: str | None = after
    while more is not None:
        some, more = await users.listed(BATCH, more, state)
        for user in some:
            yield user
        await asyncio.sleep(0)
