"""What is still to be looked at stands in the database, in few words."""

import pytest

from storage.customer.customers import Customer
from storage.database.schema import calls
from storage.directory import match_queue
from storage.directory.match_queue import FROM_THE_NEWEST, Outstanding
from tests.in_process.storage_node import record

pytestmark = pytest.mark.both_databases


async def test_match_marks_are_counted_once_a_user(acme: Customer) -> None:
    async with acme.database.writing() as connection:
        await match_queue.mark(connection, ["a", "b"])
        seen = await match_queue.newest(connection)
        await match_queue.mark(connection, ["a"])
        assert await match_queue.look(connection) == Outstanding(2, 0)
        assert await match_queue.stale(connection) == "a"
        await match_queue.fresh(connection, "a", seen)
        assert await match_queue.stale(connection) == "b"
        await match_queue.fresh(connection, "b", seen)
        assert await match_queue.stale(connection) == "a"  # it changed again meanwhile
        await match_queue.fresh(connection, "a", seen + 1)
        assert await match_queue.stale(connection) is None
        assert not await match_queue.look(connection)
        assert await match_queue.news(connection, seen, 9) == (seen + 1, ["a"])
        assert await match_queue.news(connection, seen + 1, 9) == (seen + 1, [])


async def test_one_question_tells_whether_there_is_anything(acme: Customer) -> None:
    async with acme.database.writing() as connection:
        before = await match_queue.newest(connection)
        assert not await match_queue.anything(connection, before)
        await match_queue.mark(connection, ["a"])
        seen = await match_queue.newest(connection)
        assert await match_queue.anything(connection, seen)  # the user is stale
        await match_queue.fresh(connection, "a", seen)
        assert await match_queue.anything(connection, before)  # there is news
        assert not await match_queue.anything(connection, seen)
        await match_queue.set_walk(connection, 0)
        assert await match_queue.anything(connection, seen)
        await match_queue.set_walk(connection, None)
        assert not await match_queue.anything(connection, seen)
    await record(acme)
    async with acme.database.writing() as connection:
        for matched in (True, False):
            await connection.execute(calls.update().values(matched=matched))
            assert await match_queue.anything(connection, seen) != matched


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


async def test_nothing_is_settled_while_a_call_was_not_looked_at(acme: Customer) -> None:
    async with acme.database.writing() as connection:
        await match_queue.mark(connection, ["a"])
        assert not await match_queue.settled(connection, "a") and await match_queue.settled(connection, "b")
    row = await record(acme)
    async with acme.database.writing() as connection:
        assert not await match_queue.settled(connection, "b")
        await match_queue.set_walk(connection, row.leaf + 1)  # the walk comes to it: not counted twice
        assert await match_queue.look(connection) == Outstanding(1, 1)
