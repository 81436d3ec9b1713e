"""One data directory of a node, with a customer whose recordings have sound, names and search tokens."""

import asyncio
import contextlib
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from storage.calls.call_document import wrapped
from storage.calls.call_row import CallRow, CallState
from storage.customer.customers import Customer, Customers, CustomerSettings, Place, open_closed
from storage.database.database import Database
from storage.database.schema import metadata
from storage.erasure.erasure_rows import State
from storage.errors import StorageError
from storage.keys.root_secret import RootSecret
from storage.nodes import membership
from storage.nodes.rows import nodes_of
from storage.objects.store import ObjectStore
from storage.search_forms import stored_of
from storage.timestamps import day_of
from storage.vault.container import Sealer
from tests.in_process.shared_keys import join

ROOT = RootSecret(bytes(range(32)))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHA = "00" * 32
NOBODY = "00000000-0000-4000-8000-000000000000"
"""An id that no object has."""


@dataclass
class Watch:
    """A clock that only moves when a test sets it."""

    at: datetime = NOON

    def __call__(self) -> datetime:
        return self.at

    def wait(self, **span: float) -> None:
        self.at += timedelta(**span)


@dataclass
class StorageNode:
    """One data directory with one customer in it."""

    data: Path
    watch: Watch = field(default_factory=Watch)
    settings: CustomerSettings = field(default_factory=lambda: CustomerSettings("acme"))
    database: str = "sqlite"
    objects: ObjectStore | None = None
    number: int = 0
    """0 for a single node; from 1 on, it is one of several nodes, and its database is PostgreSQL."""
    name: str = ""
    """Its name among several nodes; recNUMBER if empty."""
    first: Path | None = None
    """The data directory of node 1, which admits this node when it is opened for the first time."""
    serves: bool = True
    """Whether it is the node's daemon, not a command beside it."""

    def __post_init__(self) -> None:
        self.name = self.name or f"rec{self.number}"

    async def open(self) -> Customer:
        create = not (self.data / "keys").exists()
        if self.number:
            place = Place(
                self.data, self.database, self.watch, self.objects,
                node=self.name, instance=self.name, claims=self.serves, several=True,
            )  # fmt: skip
            customer = open_closed(self.settings, place, ROOT, node=self.number, create=create)
            await (customer.open_database() if self.first is None else self._open_admitted(customer, self.first))
            if customer.holder is not None and not await customer.holder.is_level():
                await customer.holder.turn()  # as the daemon does each second
            return customer
        return await self.open_without_row()

    async def open_without_row(self) -> Customer:
        """Open the customer as a command does, which has no row in the table of nodes."""
        create = not (self.data / "keys").exists()
        customers = await Customers.open(
            self.data,
            ROOT,
            [self.settings],
            database=self.database,
            now=self.watch,
            node=self.number,
            name=self.name,
            create=create,
            objects={self.settings.name: self.objects},
        )
        return customers[self.settings.name]

    async def _open_admitted(self, customer: Customer, first: Path) -> None:
        """Open the customer on a node; node 1 admits it first, unless it did so before."""
        command = replace(self, data=first, number=1, name="rec1", first=None, serves=False)
        async with command.opened() as one:
            async with one.database.writing() as connection:
                if self.name not in {row.name for row in await nodes_of(connection)}:
                    await membership.admit(connection, self.name, self.number)
            await customer.open_database()
            if customer.holder is not None and not await customer.holder.is_level():
                await join(one, customer)

    async def admit(self, number: int) -> "StorageNode":
        """Return another node of the same database and object store, which has the same keys."""
        other = replace(self, data=self.data.parent / f"data{number}", number=number, name="", first=self.data)
        shutil.copytree(self.data / "keys", other.data / "keys")
        (other.data / "customers" / self.settings.name).mkdir(parents=True)
        return other

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Customer]:
        """Open the customer, and close it at the end."""
        customer = await self.open()
        try:
            yield customer
        finally:
            await customer.close()

    def backup(self, to: Path) -> None:
        """Copy everything except the keys, as a backup does."""
        shutil.copytree(
            self.data, to, symlinks=True, ignore=lambda folder, names: ["keys"] if Path(folder) == self.data else []
        )

    def restore(self, backup: Path) -> None:
        """Replace everything except the keys by a backup."""
        shutil.rmtree(self.data / "customers")
        shutil.copytree(backup / "customers", self.data / "customers")

    def raw(self) -> bytes:
        """Return every byte of the data directory and every name in it."""
        found = sorted(self.data.rglob("*"))
        return b"\n".join([str(p).encode() for p in found] + [p.read_bytes() for p in found if p.is_file()])


def story(tmp_path: Path, tell: Callable[[StorageNode, Customer], Awaitable[None]], **more: object) -> None:
    """Open a node, run a test in it, and close it."""

    async def run() -> None:
        node = StorageNode(tmp_path / "data", **more)  # type: ignore[arg-type]  # fields of StorageNode
        if node.database != "sqlite":
            await (await emptied(node.database, node.settings.name, node.data)).close()
        acme = await node.open()
        try:
            await tell(node, acme)
        finally:
            await acme.close()

    asyncio.run(run())


async def emptied(url: str, customer: str, folder: Path) -> Database:
    """Return an opened database without rows; all tests share a server's database, because making one takes long."""
    database = await Database.open(url, customer, folder, NOON)
    async with database.writing() as connection:
        for table in metadata.tables.values():
            if table.name != "about":
                await connection.execute(table.delete())
    return database


async def record(
    acme: Customer,
    *,
    name: str = "Mira Okafor",
    number: str = "+4930123456",
    ended: datetime = NOON,
    state: CallState = CallState.COMPLETE,
    **details: Any,
) -> CallRow:
    """Record a call: two parts in the vault, a row and tokens in the index."""
    id, leaf = str(uuid.uuid4()), acme.keys.allocate(day_of(ended))
    for part in ("c1", "m1"):
        made = acme.vault.create(id, leaf, part)
        os.write(made.fd, Sealer(made.secret).finish(f"{name} speaks in {part}".encode() * 50))
        os.close(made.fd)
        if state != CallState.RECORDING:
            acme.vault.finish(id, leaf, part)
    parties: Any = [{"name": name, "number": number, "uri": f"sip:{number}@example.org"}]
    known: Any = {"parties": parties, "streams": [], **details}
    live = state == CallState.RECORDING
    row = CallRow(
        id, leaf, state, ended - timedelta(minutes=1), None if live else ended, 60_000, 5_000, details=wrapped(known)
    )
    await acme.calls.put([row], [stored_of(parties, "DE")])
    return row


async def permit(acme: Customer) -> None:
    """Put an active waiver on file."""
    await acme.waivers.put(
        document_sha256=SHA, signed_by="Dr. Vera Stamm", signed_at=NOON, scope="all", expires_at=None, by="admin"
    )


def opens(acme: Customer, row: CallRow) -> bool:
    """Return whether any part of a recording can be decrypted."""
    heard = 0
    for ref in acme.vault.parts(row.id, row.leaf):
        try:
            heard += len(b"".join(acme.vault.read(ref, live=True)))
        except StorageError:  # the key is gone, or the part is not what was written
            continue
    return heard > 0


async def finish(acme: Customer, **asked: object) -> Any:
    """File an erasure, carry it out and return its receipt."""
    filed = await acme.erasures.file(reason="she asked us to", by="paula", **asked)  # type: ignore[arg-type]  # as told
    assert filed.state == State.RUNNING and filed.receipt is None
    assert await acme.erasures.work()
    done = await acme.erasures.get(filed.id)
    assert done and done.state == State.DONE
    return done.receipt
