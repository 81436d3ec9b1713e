"""What is still to be looked at stands in the database, in few words."""

from pathlib import Path

import pytest

from storage import outstanding
from storage.customers import Customer
from storage.outstanding import FROM_THE_NEWEST, Outstanding
from storage.tables import calls
from tests.storage.house import House, record, story


def test_marks_are_counted_once_a_user_and_taken_away_as_far_as_was_seen(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        async with acme.database.writing() as connection:
            await outstanding.mark(connection, ["a", "b"])
            seen = await outstanding.newest(connection)
            await outstanding.mark(connection, ["a"])
            assert await outstanding.look(connection) == Outstanding(2, 0)
            assert await outstanding.stale(connection) == "a"
            await outstanding.fresh(connection, "a", seen)
            assert await outstanding.stale(connection) == "b"
            await outstanding.fresh(connection, "b", seen)
            assert await outstanding.stale(connection) == "a"  # it changed again meanwhile
            await outstanding.fresh(connection, "a", seen + 1)
            assert await outstanding.stale(connection) is None
            assert not await outstanding.look(connection)
            assert await outstanding.news(connection, seen, 9) == (seen + 1, ["a"])
            assert await outstanding.news(connection, seen + 1, 9) == (seen + 1, [])

    story(tmp_path, tell)


def test_one_question_tells_whether_there_is_anything(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        async with acme.database.writing() as connection:
            before = await outstanding.newest(connection)
            assert not await outstanding.anything(connection, before)
            await outstanding.mark(connection, ["a"])
            seen = await outstanding.newest(connection)
            assert await outstanding.anything(connection, seen)  # the user is stale
            await outstanding.fresh(connection, "a", seen)
            assert await outstanding.anything(connection, before)  # there is news
            assert not await outstanding.anything(connection, seen)
            await outstanding.set_walk(connection, 0)
            assert await outstanding.anything(connection, seen)
            await outstanding.set_walk(connection, None)
            assert not await outstanding.anything(connection, seen)
        await record(acme)
        async with acme.database.writing() as connection:
            for matched in (True, False):
                await connection.execute(calls.update().values(matched=matched))
                assert await outstanding.anything(connection, seen) != matched

    story(tmp_path, tell)


def test_old_changes_go_and_whoever_missed_them_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outstanding, "KEPT_CHANGES", 2)

    async def tell(house: House, acme: Customer) -> None:
        async with acme.database.writing() as connection:
            before = await outstanding.newest(connection)
            for number in range(5):
                await outstanding.mark(connection, [str(number)])
                await outstanding.fresh(connection, str(number), await outstanding.newest(connection))
            newest = await outstanding.newest(connection)
            assert await outstanding.news(connection, before, 9) is None
            assert await outstanding.news(connection, newest - 2, 2) == (newest, ["3", "4"])
            assert await outstanding.news(connection, newest - 2, 1) is None

    story(tmp_path, tell)


def test_many_marks_become_a_walk_that_remembers_its_place(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        rows = [await record(acme) for _ in range(outstanding.CALLS_A_USER)]
        async with acme.database.writing() as connection:
            await connection.execute(calls.update().values(matched=True))
            assert not await outstanding.turned_into_a_walk(connection)
            await outstanding.mark(connection, ["a"])
            assert not await outstanding.turned_into_a_walk(connection)  # one look-up is less work
            await outstanding.mark(connection, ["b"])
            assert await outstanding.turned_into_a_walk(connection)
            assert await outstanding.look(connection) == Outstanding(0, len(rows))
            assert await outstanding.walk(connection) == FROM_THE_NEWEST
            await outstanding.set_walk(connection, sorted(row.leaf for row in rows)[10])
            assert await outstanding.look(connection) == Outstanding(0, 10)
            assert not await outstanding.settled(connection, "c")
            await outstanding.set_walk(connection, None)
            assert await outstanding.settled(connection, "c")

    story(tmp_path, tell)


def test_nothing_is_settled_while_a_call_was_not_looked_at(tmp_path: Path) -> None:
    async def tell(house: House, acme: Customer) -> None:
        async with acme.database.writing() as connection:
            assert await outstanding.settled(connection, "a")
            await outstanding.mark(connection, ["a"])
            assert not await outstanding.settled(connection, "a") and await outstanding.settled(connection, "b")
        row = await record(acme)
        async with acme.database.writing() as connection:
            assert not await outstanding.settled(connection, "b")
            assert await outstanding.look(connection) == Outstanding(1, 1)
            await outstanding.set_walk(connection, row.leaf + 1)  # the walk comes to it: not counted twice
            assert await outstanding.look(connection) == Outstanding(1, 1)

    story(tmp_path, tell)
