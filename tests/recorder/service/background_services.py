"""A node's API and jobs, and customers as a start of the daemon has them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from recorder.service.background import BackgroundServices
from storage.customer.customers import Customer
from storage.customer.wiring import Components, assemble
from tests.in_process.recorder_node import Stage


@contextmanager
def listening() -> Iterator[socket.socket]:
    """Listen on a port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def made(one: Stage) -> BackgroundServices:
    """Make the services of a node."""
    system = one.system()
    return BackgroundServices(
        one.node, one.resources, one.customers, one.indexer, one.rejections, None, one.live, one.executor,
        one.repairs, system,
    )  # fmt: skip


@asynccontextmanager
async def serving(one: Stage) -> AsyncIterator[socket.socket]:
    """Run the services of a node; gives the socket on which its API answers."""
    with listening() as listener:
        services, opened = made(one), asyncio.Event()
        services.open([listener], opened.set)
        await asyncio.wait_for(opened.wait(), 30)
        yield listener
        await services.close()


async def close_customer(one: Stage, name: str, assembled: Callable[..., Components] = assemble) -> Customer:
    """Leave a customer as a start of the daemon has it: what it needs beyond keys is put together later."""
    for task in asyncio.all_tasks():
        if task.get_name() in ("indexer", "repairs"):
            task.cancel()  # the services start their own
    whole = one.customers[name]
    lean = Customer(whole.settings, whole.keys, whole.place, assembled)
    one.customers._customers[name] = lean
    await whole.close()
    return lean
