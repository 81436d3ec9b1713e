"""What the stories about the journal share: one of everything on file, and a database that is lost."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from storage.customer.customers import Customer
from storage.database.schema import metadata
from storage.directory.user import Person
from storage.erasure.erasure_rows import State
from storage.journal import compaction, journal
from storage.retention.policy import Wins
from storage.retention.rules import RuleSpec
from storage.subject_requests.case_rows import Asked, Kind
from tests.in_process.storage_node import NOON, StorageNode, emptied, permit, record
from tests.storage.directory.people import imported

FILE = "customers/acme/papers.journal"
Rows = dict[str, list[tuple[object, ...]]]


async def lose_the_database(node: StorageNode) -> None:
    """Take the database away, as a broken disk or a backup without it does; a server loses all rows."""
    if node.database != "sqlite":
        await (await emptied(node.database, node.settings.name, node.data)).close()
    for path in (node.data / "customers" / "acme").glob("index.sqlite3*"):
        path.unlink()


@contextlib.asynccontextmanager
async def reopened(node: StorageNode) -> AsyncIterator[Customer]:
    """Open the node again for a while, without its database."""
    await lose_the_database(node)
    async with node.opened() as customer:
        yield customer


async def dump(acme: Customer) -> Rows:
    """Return all rows of everything that the journal is for."""
    async with acme.database.reading() as connection:
        found = {t.name: [tuple(r) for r in await connection.execute(t.select())] for t in journal.TABLES}
    return {name: sorted(found[name], key=repr) for name in found}


async def copied(acme: Customer) -> Rows:
    """Copy every row of the database, as a backup of it alone does."""
    async with acme.database.reading() as connection:
        return {t.name: [tuple(r) for r in await connection.execute(t.select())] for t in metadata.tables.values()}


async def put_back(node: StorageNode, copy: Rows) -> None:
    """Put such a copy in the place of what is there, the recorder being stopped."""
    database = await emptied(node.database, node.settings.name, node.data / "customers" / node.settings.name)
    async with database.writing() as connection:
        for name, rows in copy.items():
            if rows and name != "about":
                columns = [column.name for column in metadata.tables[name].c]
                await connection.execute(
                    metadata.tables[name].insert(), [dict(zip(columns, row, strict=True)) for row in rows]
                )
    await database.close()


async def compacted_anyhow(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compact the journal, however small it is and however much of it counts."""
    monkeypatch.setattr(compaction, "LEAST", 0)
    monkeypatch.setattr(compaction, "TIMES", 0)
    assert await compaction.compact(acme.journal, acme.database)


def without_calls(rows: Rows, but: str) -> Rows:
    """Leave out the calls of requests that are done: they are in its receipt, so their rows need not come back."""
    return {**rows, "erasure_calls": [row for row in rows["erasure_calls"] if row[0] == but]}


async def fill(acme: Customer) -> str:
    """Put one of everything into the database; returns a request that waits for approval."""
    held, free = await record(acme), await record(acme, name="Tove Lind", number="+4940777888")
    await permit(acme)
    await acme.holds.put(held.id, "litigation", "paula")
    await acme.holds.put(free.id, "a mistake", "paula")
    await acme.holds.remove(free.id)
    await acme.annotations.add(held.id, "her name is Mirah", "paula")
    await acme.attachments.add(held.id, "chat", "application/json", b"{}", "paula", title="talk")
    await acme.rules.put([RuleSpec(30, party="+49301", name="old")], by="ada", default_days=90, wins=Wins.SHORTEST)
    await acme.rules.put([RuleSpec(3650, source="192.0.2.0/24", name="desk")], by="ada")
    await imported(acme, Person(object_id="k1", first_name="Mira"), Person(object_id="k2", first_name="Tove"))
    await acme.column_sets.put("for the court", ["id"], by="paula")
    await acme.requests.file((Kind.ACCESS,), Asked(("Mira Okafor",), None), received_at=NOON, by="paula")
    await imported(acme, Person(object_id="k1", first_name="Mirah"))
    done = await acme.erasures.file(calls=[free.id], reason="x", by="paula")
    await acme.erasures.work()
    assert (await acme.erasures.get(done.id)).state == State.DONE
    return (await acme.erasures.file(party="Mira Okafor", reason="her wish", by="paula", approval=True)).id
