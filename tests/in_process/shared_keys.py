"""Several holders of one customer's keys in one process; with a single node, these functions do nothing."""

from collections.abc import Awaitable, Callable

from storage.customer.customers import Customer
from storage.database.database_clock import MICROS
from storage.nodes.indexed import MARGIN_SECONDS

Stop = Callable[[str], Awaitable[None]]
ROUNDS = 4  # a node's return is written, applied by all, acknowledged by all, and read


async def admit(customer: Customer, name: str) -> None:
    """Make another node a holder of the keys."""
    if customer.holder is not None:
        await customer.holder.turn()
        await customer.holder.admit(name)
        await customer.holder.turn()


async def not_live(call: str) -> None:
    """End a call that is not live."""


async def settled(*customers: Customer, stop: Stop = not_live) -> None:
    """Apply and acknowledge the cuts of the other nodes at every node, as the daemons do each second."""
    for customer in customers * ROUNDS:
        if customer.holder is not None:
            await customer.holder.turn(stop)


async def join(first: Customer, *others: Customer) -> None:
    """Admit nodes that have a copy of the keys, and continue until each may open everything."""
    for other in others:
        if other.holder is not None and not await other.holder.is_level():
            await admit(first, other.holder.name)
    await settled(first, *others)
    for other in others:
        assert other.holder is None or await other.holder.is_level()


async def caught_up(*customers: Customer, stop: Stop = not_live) -> None:
    """Write for every node that its calls are indexed up to now, as it does a moment later, and apply all cuts."""
    for each in customers:
        if each.indexed is not None:
            async with each.database.beside() as connection:
                moment = await each.indexed.now(connection) + round(MARGIN_SECONDS * MICROS)
                await each.indexed.note(connection, moment, 0.0)
    await settled(*customers, stop=stop)
