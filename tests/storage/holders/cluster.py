"""Nodes that hold the keys of one customer, as objects of one process over one PostgreSQL."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from storage.customer.customers import Customer, Customers, CustomerSettings
from storage.holders.holder import Holder
from storage.objects.store import ObjectStore
from tests.in_process.storage_node import ROOT, Watch, emptied


@dataclass
class Cluster:
    """Several data directories, a database, and perhaps a store."""

    folder: Path
    database: str
    watch: Watch = field(default_factory=Watch)
    objects: ObjectStore | None = None
    nodes: dict[str, Customer] = field(default_factory=dict)

    async def start(self, *names: str) -> None:
        """Empty the database; the first node makes the keys, the others are admitted one after the other."""
        await (await emptied(self.database, "acme", self.folder)).close()
        await self.open(names[0], create=True)
        await self.turn(names[0])
        for name in names[1:]:
            await self.join(name, names[0])

    async def join(self, name: str, by: str) -> None:
        """Admit a node, and give it the keys as the file of the admission does."""
        await self.holder(by).admit(name)
        await self.turn(*self.nodes)
        self.copy_keys(by, name)
        await self.open(name)
        await self.settle()

    async def open(self, name: str, *, create: bool = False) -> Customer:
        """Start a node."""
        number = ord(name[-1])
        found = await Customers.open(
            self.folder / name, ROOT, [CustomerSettings("acme")], database=self.database, now=self.watch, node=number,
            name=name, create=create, objects={"acme": self.objects},
        )  # fmt: skip
        self.nodes[name] = found["acme"]
        return found["acme"]

    async def close(self, *names: str) -> None:
        """Stop nodes as a kill does: nothing is written."""
        for name in names or tuple(self.nodes):
            await self.nodes.pop(name).close()

    def copy_keys(self, of: str, to: str) -> None:
        """Copy `keys/` without what says whether the node must return."""
        (self.folder / to / "customers" / "acme").mkdir(parents=True, exist_ok=True)
        ignored = shutil.ignore_patterns("*.holder", "*.lock")
        shutil.copytree(self.keys(of), self.keys(to), ignore=ignored, dirs_exist_ok=True)

    def keys(self, name: str) -> Path:
        return self.folder / name / "keys"

    def holder(self, name: str) -> Holder:
        found = self.nodes[name].holder
        assert found is not None
        return found

    async def turn(self, *names: str) -> None:
        """Let nodes work for one round each."""
        for name in names or tuple(self.nodes):
            await self.holder(name).turn()

    async def settle(self) -> None:
        """Let all nodes work until nothing is left to do."""
        for _ in range(4):
            self.watch.wait(seconds=6)  # after which any node removes rows
            await self.turn()
