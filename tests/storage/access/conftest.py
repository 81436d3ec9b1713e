"""Two nodes with the same keys on one database."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage.customer.customers import Customer, CustomerSettings, Place, open_closed
from tests.in_process.shared_keys import admit, settled
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
            yield customer
        finally:
            await customer.close()


@pytest.fixture
def two(tmp_path: Path, postgresql: str, loop: asyncio.Runner) -> tuple[Installation, Installation]:
    """Two nodes that have stopped, on an empty database; the first one has admitted the other."""
    one, other = (Installation(tmp_path / f"rec{number}", postgresql, number) for number in (1, 2))

    async def join() -> None:
        one.closed(create=True)
        await (await emptied(postgresql, "acme", one.data)).close()
        async with one.opened() as first:
            await admit(first, "rec2")
            shutil.copytree(one.data, other.data, ignore=shutil.ignore_patterns("*.holder", "*.lock"))
            async with other.opened() as second:
                await settled(first, second)

    loop.run(join())
    return one, other
