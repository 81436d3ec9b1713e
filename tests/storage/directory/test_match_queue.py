"""What is still to be looked at stands in the database, in few words."""

import pytest

from storage.customer.customers import Customer
from storage.database.schema import calls
from storage.directory import match_queue
from storage.directory.match_queue import FROM_THE_NEWEST, Outstanding
from tests.in_process.storage_node import record

pytestmark = pytest.mark.both_databases


async def test_a_reader_that_missed_removed_changes_learns_it(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(match_queue, "KEPT_CHANGES", 2)
    async with acme.database.writing() as connection:
        before = await match_queue.newest(connection)
        for number in range(5):
            await match_queue.mark(connection, [str(number)])
            await match_queue.fresh(connection, str(number), await match_queue.newest(connection))
        newest = await match_queue.newest(connection)
        assert await match_queue.news(connection, before, 9) is None
        assert await match_queue.news(connection, newest - 2, 2) == (newest, ["3", "4"])
        assert await match_queue.news(connection, newest - 2, 1) is None


async def test_many_marks_become_a_walk_that_remembers_its_place(acme: Customer) -> None:
    rows = [await record(acme) for _ in range(match_queue.CALLS_A_USER)]
    async with acme.database.writing() as connection:
        await connection.execute(calls.update().values(matched=True))
        assert not await match_queue.read_as_walk(connection)
        await match_queue.mark(connection, ["a"])
        assert not await match_queue.read_as_walk(connection)  # one look-up is less work
        await match_queue.mark(connection, ["b"])
        assert await match_queue.read_as_walk(connection)
        assert await match_queue.look(connection) == Outstanding(0, len(rows))
        assert await match_queue.walk(connection) == FROM_THE_NEWEST
        await match_queue.set_walk(connection, sorted(row.leaf for row in rows)[10])
        assert await match_queue.look(connection) == Outstanding(0, 10)
        assert not await match_queue.settled(connection, "c")
        await match_queue.set_walk(connection, None)
        assert await match_queue.settled(connection, "c")
