"""A fail-over lost a hold that was acknowledged: nothing of the call is erased until the hold is back."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from storage.customer.customers import Customer
from storage.database.database import DatabaseAway, DatabaseOlder
from storage.journal.node_journal import NodeJournal
from tests.in_process import storage_nodes
from tests.in_process.storage_node import NOON, StorageNode, opens, permit, record
from tests.in_process.storage_nodes import JournalNode, failed_over, taken_copy

pytestmark = pytest.mark.system
LATER = NOON + timedelta(days=181)


@pytest.fixture
def alone(tmp_path: Path, postgresql: str, loop: asyncio.Runner) -> JournalNode:
    """A machine that has the database to itself."""
    return loop.run(storage_nodes.first_node(tmp_path, postgresql, JournalNode))


async def test_nothing_is_erased_before_the_journal_is_back(alone: JournalNode) -> None:
    async with alone.opened() as acme:
        due, free = await record(acme), await record(acme)
        await permit(acme)
        await acme.erasures.work()
        copy = await taken_copy(alone)
        await acme.holds.put(due.id, "court", "paula")
        await failed_over(alone, copy)
        assert await acme.holds.get(due.id) is None
        assert len((await acme.retention.sweep(LATER, 100)).filed) == 1
        with pytest.raises(DatabaseOlder):
            await acme.erasures.work()
        assert opens(acme, due) and opens(acme, free)
    async with alone.opened() as acme:  # as after a reload
        held = await acme.holds.get(due.id)
        assert held is not None and held.reason == "court"
        await acme.erasures.work()
        assert opens(acme, due) and not opens(acme, free)


async def test_a_lost_hold_from_before_the_start_stops_a_sweep(alone: JournalNode) -> None:
    async with alone.opened() as acme:
        due = await record(acme)
        copy = await taken_copy(alone)
        await acme.holds.put(due.id, "court", "paula")
    async with alone.opened() as acme:
        await acme.erasures.work()
        await failed_over(alone, copy)
        await acme.retention.sweep(LATER, 100)
        with pytest.raises(DatabaseOlder):
            await acme.erasures.work()
        assert opens(acme, due)


async def test_a_node_erases_nothing_while_known_lines_are_missing(
    first_node: StorageNode, two_nodes: tuple[Customer, Customer]
) -> None:
    one, other = two_nodes
    due = await record(one)
    copy = await taken_copy(first_node)
    await one.holds.put(due.id, "court", "paula")
    await _journal(other).watch(other.database)
    await failed_over(first_node, copy)
    await other.retention.sweep(LATER, 100)
    with pytest.raises(DatabaseOlder):
        await other.erasures.work()
    assert opens(one, due)


async def test_what_is_due_waits_until_every_node_has_written_since(
    first_node: StorageNode, two_nodes: tuple[Customer, Customer]
) -> None:
    """Only the node that was asked knows of a hold that was lost a moment later; it gives it back when it comes."""
    one, other = two_nodes
    due, free = await record(one), await record(one)
    copy = await taken_copy(first_node)
    await one.holds.put(due.id, "court", "paula")
    await failed_over(first_node, copy)
    await other.retention.sweep(LATER, 100)
    for _ in range(2):
        await other.erasures.work()
        await _indexed(other)
    assert opens(one, due) and opens(one, free), "nobody has heard of node 1 since"
    with pytest.raises(DatabaseAway):
        await _indexed(one)
    await one.open_database()
    await _indexed(one)
    await other.erasures.work()
    assert await one.holds.get(due.id) is not None
    await _caught_up(one, other)
    assert opens(one, due) and not opens(one, free)


def _journal(node: Customer) -> NodeJournal:
    assert isinstance(node.journal.shared, NodeJournal)
    return node.journal.shared


async def _indexed(node: Customer) -> None:
    """Note that this node has written all its calls until now, as the indexer does a second later."""
    assert node.indexed is not None
    async with node.database.beside() as connection:
        now = await node.indexed.now(connection)
        await node.indexed.note(connection, now, -2.0, alone=True, compare=node.registry.compare)


async def _caught_up(*both: Customer) -> None:
    for node in both:
        assert node.holder is not None
        await node.holder.turn()
