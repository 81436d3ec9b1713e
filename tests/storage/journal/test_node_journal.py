"""Nodes on one PostgreSQL: a database that lost commits, or everything, gets the lines of every node's journal back."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from storage.customer.customers import Customer
from storage.database.database import Database, DatabaseOlder
from storage.database.schema import journal_mark, journal_rows
from storage.errors import LinesMissing
from storage.journal import compaction, node_journal, replay
from storage.journal.journal import Journal
from storage.journal.node_journal import NodeJournal
from storage.retention.policy import Wins
from storage.retention.rules import RuleSpec
from tests.in_process.storage_node import NOON, emptied, permit, record
from tests.in_process.storage_nodes import JournalNode, failed_over, first_node, joined, retired, taken_copy
from tests.storage.journal_rows import Rows, dump, fill, without_calls

pytestmark = pytest.mark.system


@contextlib.asynccontextmanager
async def both(one: JournalNode, two: JournalNode) -> AsyncIterator[tuple[Customer, Customer]]:
    """Open the customer on two nodes."""
    async with one.opened() as first, two.opened() as second:
        yield first, second


@pytest.fixture
def alone(tmp_path: Path, postgresql: str, loop: asyncio.Runner) -> JournalNode:
    """A machine that has the database to itself, with nothing in it."""
    return loop.run(first_node(tmp_path, postgresql, JournalNode))


@pytest.fixture
def one(alone: JournalNode, loop: asyncio.Runner) -> JournalNode:
    """The same machine, with one of everything, as the first of several nodes."""
    loop.run(_filled(alone))
    alone.number = 1
    return alone


async def _filled(alone: JournalNode) -> None:
    async with alone.opened() as acme:
        await fill(acme)


@pytest.fixture
def two(one: JournalNode) -> JournalNode:
    """A node that has joined, with an empty disk but for the keys."""
    return joined(one, 2)


async def rows_of(node: JournalNode) -> Rows:
    """Return all rows of everything that the journals are for, without the calls of erasures that are done."""
    async with node.opened() as acme:
        assert await replay.differences(acme.journal, acme.database) == {}
        return without_calls(await dump(acme), "")


async def lose_everything(node: JournalNode) -> None:
    """Put an empty database in the place of the old one."""
    await (await emptied(node.database, "acme", node.data)).close()


async def lacking(node: JournalNode) -> LinesMissing:
    """Open the customer; return why that is refused."""
    with pytest.raises(LinesMissing) as caught:
        async with node.opened():
            pass
    return caught.value


async def write_much(first: Customer, second: Customer) -> None:
    """Write through both nodes, by turns, about the same rows."""
    row = await record(first, name="Uwe Brandt", number="+4940111222")
    await first.holds.put(row.id, "court", "paula")
    await second.holds.put(row.id, "another court", "paula")
    await second.rules.put([RuleSpec(7, name="second")], by="ada", default_days=11, wins=Wins.LONGEST)
    await first.annotations.add(row.id, "by the first", "paula")
    await second.annotations.add(row.id, "by the second", "paula")
    await first.rules.put([RuleSpec(8, name="first")], by="ada")
    await first.column_sets.put("of both", ["id"], by="paula")
    await second.column_sets.put("of both", ["id", "started_at"], by="paula")
    gone = await record(second)
    await first.holds.put(gone.id, "a mistake", "paula")
    await second.holds.remove(gone.id)
    await permit(second)


async def test_becoming_a_node_and_going_back_loses_no_rows(alone: JournalNode) -> None:
    async with alone.opened() as acme:
        asked = await fill(acme)
        before, newest = without_calls(await dump(acme), asked), acme.journal.newest
    alone.number = 1
    async with alone.opened() as acme:
        assert without_calls(await dump(acme), asked) == before and acme.journal.newest == newest
        assert not acme.journal.replayed and acme.gap.first() is None
        assert await replay.differences(acme.journal, acme.database) == {}
        await permit(acme)
        assert acme.journal.newest == newest + 1
        before = without_calls(await dump(acme), asked)
    await lose_everything(alone)
    async with alone.opened() as acme:
        assert without_calls(await dump(acme), asked) == before
    alone.number = 0
    async with alone.opened() as acme:
        assert without_calls(await dump(acme), asked) == before
        assert not (alone.data / "customers/acme" / node_journal.FILE_NAME).exists()
        async with acme.database.reading() as connection:
            assert list(await connection.scalars(sa.select(journal_mark.c.node))) == [0]
            assert not list(await connection.execute(sa.select(journal_rows)))
    await lose_everything(alone)
    async with alone.opened() as acme:
        assert without_calls(await dump(acme), asked) == before, "it is a machine of its own again"


STEPS = [
    pytest.param((Journal, "begin"), id="begin"),
    pytest.param((NodeJournal, "_write"), id="write", marks=pytest.mark.torture),
    pytest.param((NodeJournal, "_claim"), id="claim"),
    pytest.param((node_journal, "carry_out"), id="carry-out", marks=pytest.mark.torture),
    pytest.param((node_journal, "_tell"), id="tell", marks=pytest.mark.torture),
    pytest.param((node_journal, "set_mark"), id="set-mark", marks=pytest.mark.torture),
]


@pytest.mark.parametrize("where", STEPS)
@pytest.mark.parametrize("after", [pytest.param(False, marks=pytest.mark.torture), True])
async def test_a_node_killed_at_any_step_of_a_change_loses_nothing(
    alone: JournalNode, monkeypatch: pytest.MonkeyPatch, where: tuple[Any, str], after: bool
) -> None:
    """From a single machine to a node, to a node of another number that gives back its lines, to a single machine."""
    async with alone.opened() as acme:
        asked = await fill(acme)
        before = without_calls(await dump(acme), asked)
    owner, name = where
    step = getattr(owner, name)

    def kill(*args: Any, **more: Any) -> Any:
        if not after:
            raise RuntimeError("killed here")
        found = step(*args, **more)
        if not asyncio.iscoroutine(found):
            raise RuntimeError("killed here")
        return _killed_after(found)

    for number in (1, 2, 0):
        copy = await taken_copy(alone)
        alone.number = number
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, kill)
            with contextlib.suppress(RuntimeError):
                async with alone.opened():
                    pass
        async with alone.opened() as acme:
            assert without_calls(await dump(acme), asked) == before
            assert await replay.differences(acme.journal, acme.database) == {}
            async with acme.database.reading() as connection:
                assert list(await connection.scalars(sa.select(journal_mark.c.node))) == [number]
            await permit(acme)
            before = without_calls(await dump(acme), asked)
        if number:
            await failed_over(alone, copy)  # to what it was under the number before


async def _killed_after(work: Any) -> None:
    await work
    raise RuntimeError("killed here")


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
async def test_a_lost_database_gets_the_rows_of_all_nodes_back(
    one: JournalNode, two: JournalNode, order: tuple[int, int]
) -> None:
    async with both(one, two) as (first, second):
        await write_much(first, second)
        await first.journal.shared.watch(first.database)  # as a few seconds later
    before = await rows_of(one)
    await lose_everything(one)
    early, late = (one, two) if order[0] == 1 else (two, one)
    why = await lacking(early)
    assert why.node == late.name and f"node {late.name}, number {late.number}" in str(why)
    assert f"--node {late.number}" in why.hint
    assert (await lacking(early)).node == late.name, "asking again does not help"
    assert await rows_of(late) == before
    assert await rows_of(early) == before


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
async def test_commits_that_a_fail_over_lost_come_back_from_each_node(
    one: JournalNode, two: JournalNode, order: tuple[int, int]
) -> None:
    async with both(one, two) as (first, second):
        await write_much(first, second)
    copy = await taken_copy(one)
    async with both(one, two) as (first, second):
        await write_much(first, second)
    before = await rows_of(one)
    await failed_over(one, copy)
    early, late = (one, two) if order[0] == 1 else (two, one)
    with contextlib.suppress(LinesMissing):
        async with early.opened():
            pass
    assert await rows_of(late) == before
    assert await rows_of(early) == before


async def test_writes_after_a_fail_over_win_over_those_it_lost(one: JournalNode, two: JournalNode) -> None:
    async with both(one, two) as (first, second):
        row = await record(first)
        copy = await taken_copy(one)
        await first.rules.put([RuleSpec(1, name="lost")], by="ada", default_days=1)
        await first.holds.put(row.id, "lost", "paula")
        await first.holds.put((await record(first)).id, "lost too", "paula")
    await failed_over(one, copy)
    async with two.opened() as second:  # nobody has told it
        await second.rules.put([RuleSpec(2, name="newer")], by="ada", default_days=2)
        await second.holds.put(row.id, "newer", "paula")
    async with one.opened() as first:
        rules = await first.rules.get()
        assert [rule.spec.name for rule in rules.rules] == ["newer"] and rules.default_days == 2
        held = await first.holds.get(row.id)
        assert held is not None and held.reason == "newer"
        async with first.database.reading() as connection:
            assert len(list(await connection.execute(sa.text("SELECT call FROM holds")))) == 3
        assert await replay.differences(first.journal, first.database) == {}


async def test_a_running_node_notices_that_its_commits_are_lost(one: JournalNode, two: JournalNode) -> None:
    async with both(one, two) as (first, second):
        copy = await taken_copy(one)
        await permit(first)
        await second.journal.shared.watch(second.database)
        await failed_over(one, copy)
        for customer in (first, second):  # its own, and those of the other
            with pytest.raises(DatabaseOlder):
                await customer.journal.shared.watch(customer.database)
        with pytest.raises(DatabaseOlder):
            await permit(first)
        with pytest.raises(LinesMissing, match="of node rec1, number 1"):
            await second.open_database()
        await first.open_database()
        await second.open_database()
        for customer in (first, second):
            await customer.journal.shared.watch(customer.database)
            await permit(customer)


async def test_a_retired_node_is_not_needed_any_more(one: JournalNode, two: JournalNode) -> None:
    async with both(one, two) as (first, second):
        await write_much(first, second)
        await second.close()
        await retired(first, 2)
        await first.journal.shared.watch(first.database)
    before = await rows_of(one)
    shutil.rmtree(two.data)
    await lose_everything(one)
    assert await rows_of(one) == before


async def test_losing_a_database_and_a_node_disk_must_be_accepted(one: JournalNode, two: JournalNode) -> None:
    async with both(one, two) as (first, second):
        await write_much(first, second)
        copy = await taken_copy(one)  # the newest backup of the database
        await second.holds.put((await record(second)).id, "lost for good", "paula")
        await first.journal.shared.watch(first.database)
        waivers = (await dump(first))["waivers"]
    await failed_over(one, copy)
    for path in (two.data / "customers/acme").glob("papers.*"):
        path.unlink()  # a new disk in the old machine
    for node in (one, two, one):
        assert (await lacking(node)).node == "rec2"
    database = await Database.open(one.database, "acme", one.data, NOON)
    lost = await node_journal.lacking(database, 2)
    assert lost is not None and lost[0] == lost[1], "the one that was written after the backup"
    await node_journal.accept(database, 2)
    assert await node_journal.lacking(database, 2) is None
    await database.close()
    async with both(one, two) as (first, second):
        assert (await dump(first))["waivers"] == waivers
        await permit(second)
        await write_much(first, second)
        assert await replay.differences(second.journal, second.database) == {}
    before = await rows_of(one)
    await lose_everything(one)
    assert (await lacking(two)).node == "rec1"
    assert await rows_of(one) == before


@pytest.mark.parametrize("both_are", [False, True])
async def test_a_compacted_journal_keeps_what_no_other_node_has(
    one: JournalNode, two: JournalNode, monkeypatch: pytest.MonkeyPatch, both_are: bool
) -> None:
    monkeypatch.setattr(compaction, "LEAST", 0)
    monkeypatch.setattr(compaction, "TIMES", 0)
    async with both(one, two) as (first, second):
        for _ in range(5):
            await write_much(first, second)
        for acme in (second, first) if both_are else (second,):
            size = acme.journal.size
            assert await compaction.compact(acme.journal, acme.database)
            assert await replay.differences(acme.journal, acme.database) == {}
            assert acme.journal.size < size
    before = await rows_of(one)
    await lose_everything(one)
    await lacking(two)
    assert await rows_of(one) == before


async def test_a_journal_that_is_lost_alone_is_written_again(one: JournalNode, two: JournalNode) -> None:
    async with both(one, two) as (first, second):
        await write_much(first, second)
    before = await rows_of(one)
    for path in (two.data / "customers/acme").glob("papers.*"):
        path.unlink()
    assert await rows_of(two) == before
    await lose_everything(one)
    await lacking(one)
    assert await rows_of(two) == before


async def test_verify_finds_a_row_that_no_journal_has(one: JournalNode, two: JournalNode) -> None:
    async with both(one, two) as (first, second):
        await write_much(first, second)
        async with first.database.writing() as connection:
            await connection.execute(sa.text("UPDATE annotations SET created_by = 'somebody'"))
            await connection.execute(sa.text("DELETE FROM journal_rows WHERE name = 'waivers'"))
        found = [await replay.differences(acme.journal, acme.database) for acme in (first, second)]
        assert [each["waivers"] for each in found] == [2, 2] and all(each["annotations"] for each in found)
