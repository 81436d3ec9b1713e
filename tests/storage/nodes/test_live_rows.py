"""The row of a live call is changed by the node that records it, and by no other."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from recorder.persist.repair import recover
from storage.calls.call_row import CallRow, CallState, Query
from storage.customer.customers import Customer
from storage.database.schema import calls, nodes
from storage.nodes import lost_calls
from storage.search_forms import stored_of
from tests.in_process.storage_node import NOON, StorageNode, record

pytestmark = pytest.mark.system
Two = tuple[Customer, Customer]


def ended(row: CallRow, state: CallState = CallState.COMPLETE) -> CallRow:
    return replace(row, state=state, ended_at=NOON, duration_ms=60_000)


async def put(acme: Customer, row: CallRow, name: str = "Mira Okafor") -> int:
    forms = stored_of([{"name": name, "number": "+4930123456", "uri": None}], "DE")
    return await acme.calls.put([row], [forms])


async def only(acme: Customer) -> CallRow:
    (row,) = [row async for row in acme.calls.every(Query())]
    return row


async def test_another_node_neither_ends_nor_rewrites_a_live_call(two_nodes: Two) -> None:
    one, other = two_nodes
    row = await record(other, state=CallState.RECORDING)
    assert await put(one, ended(row, CallState.INTERRUPTED), "Somebody Else") == 0
    seen = await only(one)
    assert (seen.state, seen.node) == (CallState.RECORDING, 2)
    assert await one.calls.unfinished() == () and await one.calls.elsewhere() == {row.id}
    assert await other.calls.unfinished() == ((row.id, row.leaf),)
    assert await put(other, ended(row)) == 1
    assert (await only(one)).state is CallState.COMPLETE


async def test_a_finished_call_stays_that_of_its_node(two_nodes: Two) -> None:
    one, other = two_nodes
    row = await record(other)
    assert await put(one, ended(row)) == 1  # rebuilt from the same parts, say
    assert (await only(one)).node == 2


async def test_a_start_takes_no_call_of_another_node_for_crashed(two_nodes: Two, first_node: StorageNode) -> None:
    one, other = two_nodes
    theirs = await record(other, state=CallState.RECORDING)
    mine = await record(one, state=CallState.RECORDING)
    await one.close()
    async with first_node.opened() as again:
        told: list[str] = []
        await recover(again, (), lambda found: told.append(found.call))
        assert told == [mine.id]
        states = {row.id: row.state async for row in again.calls.every(Query())}
        assert states[theirs.id] is CallState.RECORDING


async def test_a_start_looks_back_to_where_its_own_calls_are_indexed(two_nodes: Two, first_node: StorageNode) -> None:
    """Another node wrote today, and this one was away for two weeks with calls that are in no index."""
    one, other = two_nodes
    lost = await record(one, ended=NOON - timedelta(days=14))
    await one.calls.remove([lost.id])
    await record(other)
    until = int((NOON - timedelta(days=14, hours=1)).timestamp() * 1e6)
    async with one.database.writing() as connection:
        await connection.execute(nodes.update().where(nodes.c.node == 1).values(indexed_until=until))
    await one.close()
    async with first_node.opened() as again:
        gap = again.gap.first()
        assert gap is not None and gap <= lost.day


async def test_calls_of_a_retired_node_end_when_it_was_last_heard_of(two_nodes: Two) -> None:
    one, other = two_nodes
    row = await record(other, state=CallState.RECORDING)
    assert await lost_calls.end(one.database) == 0
    heard = row.started_at + timedelta(seconds=40)
    async with one.database.writing() as connection:
        values = {"state": "retired", "indexed_until": int(heard.timestamp() * 1e6)}
        await connection.execute(nodes.update().where(nodes.c.node == 2).values(**values))
    assert await lost_calls.end(one.database) == 1 and await lost_calls.end(one.database) == 0
    seen = await only(one)
    assert (seen.state, seen.ended_at) == (CallState.INTERRUPTED, heard)


async def test_users_of_a_live_call_are_matched_by_its_own_node(two_nodes: Two) -> None:
    one, other = two_nodes
    await record(other, state=CallState.RECORDING)
    await record(one)
    for acme in two_nodes:
        await acme.user_matcher.load()
    await one.user_matcher.settle()
    assert await unmatched(one) == [2]
    assert await other.user_matcher.settle_live() == 0
    assert await unmatched(one) == []


async def unmatched(acme: Customer) -> list[int]:
    async with acme.database.reading() as connection:
        return list(await connection.scalars(sa.select(calls.c.node).where(~calls.c.matched)))
