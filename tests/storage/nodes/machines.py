"""Machines with copies of one data directory, and the database that they share."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.customer.customers import Customer, CustomerSettings, Place
from storage.customer.customers import open_closed as opened_keys
from storage.database.database import Database
from storage.database.schema import nodes
from storage.errors import OtherNode
from storage.nodes import membership
from tests.in_process.storage_node import NOON, ROOT, Watch, emptied

ACME = CustomerSettings("acme")
HOUR = 3_600_000_000


@dataclass(frozen=True)
class Machine:
    """A machine with a copy of the data directory, and the database that it is given."""

    data: Path
    place: Place
    number: int = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Customer]:
        """Open the customer as a process of this machine does."""
        customer = opened_keys(ACME, self.place, ROOT, node=self.number, create=True)
        try:
            await customer.open_database()
            yield customer
        finally:
            await customer.close()

    @property
    def command(self) -> Machine:
        """Return what a command of this machine is, beside its daemon."""
        return replace(self, place=replace(self.place, claims=False))

    @property
    def rebooted(self) -> Machine:
        """Return this machine after a restart of its operating system."""
        return replace(self, place=replace(self.place, instance=f"{self.place.instance} again"))

    async def refused(self) -> OtherNode:
        """Try to open the customer; return why that is refused."""
        with pytest.raises(OtherNode) as caught:
            async with self.serving():
                pass
        return caught.value

    def copy(self, name: str) -> Machine:
        """Return another machine that has a copy of this one's disk, and another name."""
        data = self.data.parent / name
        shutil.copytree(self.data, data)
        return replace(self, data=data, place=replace(self.place, data_dir=data, node=name, instance=name))

    def joining(self, name: str, number: int) -> Machine:
        """Return another machine that has the keys, and a number of its own."""
        return replace(self.copy(name), number=number)

    async def work(self, change: Callable[[AsyncConnection], Awaitable[object]]) -> None:
        """Change something in a transaction of nobody."""
        database = await Database.open(self.place.database, "acme", self.data, NOON)
        try:
            async with database.writing() as connection:
                await change(connection)
        finally:
            await database.close()

    async def execute(self, change: sa.Executable) -> None:
        """Execute a statement as nobody."""
        await self.work(lambda connection: connection.execute(change))

    async def age(self, micros: int) -> None:
        """Let all rows be older."""
        await self.execute(nodes.update().values(seen=nodes.c.seen - micros))

    async def admit(self, name: str, number: int) -> None:
        """Admit a node, as its holder of keys does."""
        await self.work(lambda connection: membership.admit(connection, name, number))

    async def retire(self, name: str) -> None:
        """Retire a node."""
        await self.work(lambda connection: membership.retire(connection, name))


async def first(folder: Path, url: str, number: int = 0) -> Machine:
    """Return the machine that has served an empty database, and is not running at the moment."""
    await (await emptied(url, "acme", folder)).close()
    place = Place(folder / "rec1", url, Watch(), node="rec1", instance="rec1", claims=True, several=number > 0)
    machine = Machine(folder / "rec1", place, number)
    async with machine.serving():
        pass
    return machine
