"""What a command does after users have changed: match the affected calls with users, or leave that to the daemon.

The lock for matching calls is also held while users are written, so that nobody matches with half of a change.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager

from storage.customer.customers import Customer
from storage.directory.delta_link import alone

LOCK = ".correlation.lock"
"""Held by whoever matches calls: the daemon, or a command."""
IMPORT_LOCK = ".directory.csv.lock"
"""Held by a running import: two at once would each add the same new users."""
MATCHING, IMPORTING = "correlation", "directory"
"""Name of the turn that several nodes take."""
FEW_USERS = 5_000
"""This many users are loaded within a second; more are loaded only if there is much to do."""
MUCH_USERS, MUCH_CALLS = 500, 20_000
"""Work that would take the daemon minutes, because it pauses most of the time."""


def matching(customer: Customer) -> AbstractContextManager[bool]:
    """Take the lock for matching calls; yields False if the daemon or another command has it. Raises DiskFailed."""
    return alone(customer.folder / LOCK)


@asynccontextmanager
async def matching_for_all(customer: Customer) -> AsyncIterator[bool]:
    """Take the lock for matching calls, and the turn among several nodes; yields False if somebody else has either."""
    with matching(customer) as ours:
        if not ours:
            yield False
            return
        async with customer.turns.turn(MATCHING) as turn:
            yield turn is not None


@asynccontextmanager
async def importing_for_all(customer: Customer) -> AsyncIterator[bool]:
    """Take the turn among several nodes for changing users; yields False if another node has it."""
    async with customer.turns.turn(IMPORTING) as turn:
        yield turn is not None


def importing(customer: Customer) -> AbstractContextManager[bool]:
    """Take the lock for importing users; yields False if another command has it. Raises DiskFailed."""
    return alone(customer.folder / IMPORT_LOCK)


async def look(customer: Customer, shown: Callable[[int, int], None]) -> int | None:
    """Match the calls; return how many got or lost a user, None if it is left to the daemon. Raises StorageError."""
    user_matcher = customer.user_matcher
    left = await user_matcher.outstanding()
    if not left:
        return 0
    much = left.users > MUCH_USERS or left.calls > MUCH_CALLS
    if not much and await customer.users.count() > FEW_USERS:
        return None
    await user_matcher.load()
    return await user_matcher.settle(shown)
