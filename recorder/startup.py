"""What a start does behind the running service: open the databases, recover and index what a crash left."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from recorder.live import Live
from recorder.node import Node
from recorder.recovery import Found, index, left_behind, rebuild, repair
from storage.customers import Customer
from storage.errors import StorageError

AGAIN_SECONDS = 5.0
"""A database that is away at the start is tried again this often."""


class Startup:
    """Runs once; calls are taken meanwhile."""

    def __init__(self, node: Node, live: Live) -> None:
        self._node = node
        self._live = live

    async def run(self) -> None:
        """Recover every customer."""
        for customer in self._node.customers.values():
            await self._recover(customer)

    async def _recover(self, customer: Customer) -> None:
        """Repair in a thread, since an hour of media takes a moment to read; then index."""
        living = {call.id for call in self._live}
        for call, leaf in left_behind(customer, living):
            try:
                found = await asyncio.to_thread(repair, customer, call, leaf)
            except StorageError as problem:
                self._node.log.error("recovery.failed", call=call, exc_info=problem)
                continue
            self._tell(found)
            if found.document is not None:
                await self._index(customer, leaf, found.document)
        for call, leaf in await self._unfinished(customer):
            if self._live.by_id(call) is None:
                document = await asyncio.to_thread(rebuild, customer, call, leaf)
                if document is not None:
                    await self._index(customer, leaf, document)

    def _tell(self, found: Found) -> None:
        self._node.log.info("recovery.done", call=found.call, parts=found.repaired)
        self._node.incidents.add("call-interrupted", None, call=found.call, reason="crash")
        self._node.metrics.calls.labels("interrupted").inc()

    async def _index(self, customer: Customer, leaf: int, document: Mapping[str, Any]) -> None:
        while True:
            try:
                await index(customer, leaf, document)
                return
            except StorageError:
                await asyncio.sleep(AGAIN_SECONDS)

    async def _unfinished(self, customer: Customer) -> tuple[tuple[str, int], ...]:
        while True:
            try:
                return await customer.calls.unfinished()
            except StorageError:
                await asyncio.sleep(AGAIN_SECONDS)
