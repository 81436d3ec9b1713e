"""What a command does after users have changed: look at the calls that this concerns, or leave it to the daemon.

The right to look at calls is held while users are written too, so that nobody begins with half of the change.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from storage.customer.customers import Customer
from storage.directory.delta_link import alone

LOCK = ".correlation.lock"
"""Held by whoever looks at calls: the daemon, or a command."""
IMPORT_LOCK = ".directory.csv.lock"
"""Held by the import that runs: two at once would each add whoever is new."""
FEW_USERS = 5_000
"""So many are in memory within a second; more only where the work is worth it."""
MUCH_USERS, MUCH_CALLS = 500, 20_000
"""Work that the daemon, which rests most of the time, would take minutes for."""


def matching(customer: Customer) -> AbstractContextManager[bool]:
    """Hold the right to look at calls; gives False if the daemon or another command has it. Raises DiskFailed."""
    return alone(customer.folder / LOCK)


def importing(customer: Customer) -> AbstractContextManager[bool]:
    """Hold the right to import users; gives False if another command has it. Raises DiskFailed."""
    return alone(customer.folder / IMPORT_LOCK)


async def look(customer: Customer, shown: Callable[[int, int], None]) -> int | None:
    """Look at the calls; return how many got or lost a user, None if the daemon does it better. Raises StorageError."""
    correlation = customer.correlation
    left = await correlation.outstanding()
    if not left:
        return 0
    much = left.users > MUCH_USERS or left.calls > MUCH_CALLS
    if not much and await customer.users.count() > FEW_USERS:
        return None
    await correlation.load()
    return await correlation.settle(shown)
