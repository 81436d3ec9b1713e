"""Nodes that share a customer's database and keys, each with its own disk."""

import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from storage.customer.customers import Customer, Place, audit_key, open_closed
from storage.database.database import Database
from storage.database.schema import metadata, nodes
from storage.journal.node_journal import NodeJournal
from tests.in_process.storage_node import NOON, ROOT, StorageNode, emptied

OWN = ("papers.*", "audit.*", "vault", "exports", "index.*")
"""Files in a customer's folder that a joining node does not have yet."""


@dataclass
class NumberedNode(StorageNode):
    """One of several nodes; with number 0, a single node that does not share its database."""

    async def open(self) -> Customer:
        with patch.object(Database, "guard", lambda *_: None):  # skips the checks: may it write, are its keys level
            customer = await self.open_without_row()
        return customer


@dataclass
class JournalNode(NumberedNode):
    """A node that shares only the database: it has a node's journal, and cuts its keys by itself."""

    async def open(self) -> Customer:
        place = Place(self.data, self.database, self.watch, node=self.name)
        create = not (self.data / "keys").exists()
        customer = open_closed(self.settings, place, ROOT, node=self.number, create=create)
        try:
            if self.number:
                customer.journal.shared = NodeJournal(customer.journal, customer.folder, self.number, self.name)
            await customer.open_database()
        except BaseException:
            await customer.close()
            raise
        return customer


N = TypeVar("N", bound=NumberedNode)


async def first_node(folder: Path, url: str, kind: type[N]) -> N:
    """Make a single node with an empty database."""
    await (await emptied(url, "acme", folder)).close()
    node = kind(folder / "rec1", database=url, name="rec1")
    async with node.opened():
        pass
    return node


def joined(first: N, number: int) -> N:
    """Make another node with only the same keys."""
    data = first.data.with_name(f"rec{number}")
    shutil.copytree(first.data, data)
    for pattern in OWN:
        for path in (data / "customers" / "acme").glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in (data / "keys").glob("acme.audit*"):
        path.unlink()
    return replace(first, data=data, number=number, name=f"rec{number}", watch=first.watch)


async def retired(customer: Customer, number: int) -> None:
    """Mark a node as retired in the database."""
    public = audit_key(customer.keys).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    tree = hashlib.sha256(public).hexdigest()[:32]
    row = {"node": number, "label": f"rec{number}", "tree": tree, "instance": "", "seen": 0, "state": "retired"}
    async with customer.database.writing() as connection:
        await connection.execute(nodes.delete().where(nodes.c.node == number))
        await connection.execute(nodes.insert(), row)


Copy = dict[str, list[dict[str, object]]]
"""Rows by table."""


async def taken_copy(node: StorageNode) -> Copy:
    """Return a copy of all rows of the database, as a lagging standby has them."""
    database = await Database.open(node.database, "acme", node.data, NOON)
    async with database.reading() as connection:
        found: Copy = {}
        for table in metadata.tables.values():
            found[table.name] = [dict(row._mapping) for row in await connection.execute(table.select())]
    await database.close()
    return found


async def failed_over(node: StorageNode, copy: Copy) -> None:
    """Restore the database from a copy: every later commit is lost, as after a fail-over."""
    database = await emptied(node.database, "acme", node.data)
    async with database.writing() as connection:
        for table in metadata.tables.values():
            if copy.get(table.name) and table.name != "about":
                await connection.execute(table.insert(), copy[table.name])
    await database.close()
