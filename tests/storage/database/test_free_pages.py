"""What an erasure deletes from the database is in no byte of its files any more: free pages, journal, shared memory."""

import struct
from typing import Any

import sqlalchemy as sa

from storage.customer.customers import Customer
from storage.database.schema import annotations, call_tokens, calls, holds
from tests.in_process.storage_node import StorageNode, finish, permit, record


def database_files(node: StorageNode) -> bytes:
    """Return every byte of the database and what SQLite keeps beside it."""
    return b"".join(path.read_bytes() for path in sorted(node.data.glob("customers/acme/index.sqlite3*")))


async def bytes_of(acme: Customer, call: str, leaf: int) -> dict[str, Any]:
    """Return how the rows of a call lie on the disk: sealed values and search tokens."""
    found: dict[str, Any] = {}
    async with acme.database.reading() as connection:
        for table, where in ((calls, calls.c.id == call), (annotations, annotations.c.call == call)):
            found[table.name] = await connection.scalar(sa.select(table.c.sealed).where(where))
        tokens = await connection.scalars(sa.select(call_tokens.c.token).where(call_tokens.c.leaf == leaf))
        wide = (token for token in tokens if not -(1 << 47) <= token < 1 << 47)  # SQLite writes small ones shorter
        found.update({f"token {n}": struct.pack(">q", token) for n, token in enumerate(wide)})
    return found


async def test_an_erased_call_leaves_no_bytes_in_the_database(node: StorageNode, acme: Customer) -> None:
    for n in range(40):  # so that the rows lie among others, on several pages
        await record(acme, name=f"Person {n} of many", number=f"+49401234{n:03}")
    gone = await record(acme)
    await acme.annotations.add(gone.id, "her name is Mirah", "paula")
    await permit(acme)
    planted = await bytes_of(acme, gone.id, gone.leaf)
    assert len(planted) > 5
    for when in ("in the write-ahead log", "in the pages"):
        raw = database_files(node)
        assert all(piece in raw for piece in planted.values()), when
        await acme.database.scrub()
    await finish(acme, calls=[gone.id])
    raw = database_files(node)
    assert [name for name, piece in planted.items() if piece in raw] == []
    assert (node.data / "customers/acme/index.sqlite3-wal").stat().st_size < 1 << 16
    async with acme.database.reading() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(holds)) == 0
