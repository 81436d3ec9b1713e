"""Two nodes with the same keys on one database."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from storage.customer.customers import Customer, CustomerSettings, Place, open_closed
from tests.in_process.shared_keys import join
from tests.in_process.storage_node import NOON, ROOT, emptied


@dataclass(frozen=True)
class Installation:
    """The data directory of a node, and its number."""

    data: Path
    database: str
    number: int

    @property
    def folder(self) -> Path:
        return self.data / "customers" / "acme"

    def closed(self, *, create: bool = False) -> Customer:
        """Open everything but the database."""
        place = Place(self.data, self.database, lambda: NOON, node=f"rec{self.number}", several=self.number > 0)
        return open_closed(CustomerSettings("acme"), place, ROOT, node=self.number, create=create)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Customer]:
        """Open the customer for a while."""
        customer = self.closed()
        try:
            await customer.open_database()
            if customer.holder and not await customer.holder.is_level():
                first = replace(self, data=self.data.parent / "rec1", number=1)
                async with first.opened() as one:
                    await join(one, customer)
            yield customer
        finally:
            await customer.close()


@pytest.fixture
def two(tmp_path: Path, postgresql: str, loop: asyncio.Runner) -> tuple[Installation, Installation]:
    """Two nodes that were not started yet, on an empty database."""
    one, other = (Installation(tmp_path / f"rec{number}", postgresql, number) for number in (1, 2))
    one.closed(create=True)
    loop.run(loop.run(emptied(postgresql, "acme", one.data)).close())
    shutil.copytree(one.data, other.data)
    return one, other
