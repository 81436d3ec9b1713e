"""Every node says until when its calls are in the index, and can see whom the index has to wait for."""

import asyncio
from dataclasses import replace

import pytest
import sqlalchemy as sa

from recorder.persist.indexer import Indexer
from storage.calls.call_row import CallRow, CallState
from storage.customer.customers import Customer
from storage.database.schema import nodes
from storage.nodes import present
from storage.nodes.indexed import MARGIN_SECONDS, Indexed
from storage.nodes.rows import NodeState
from tests.in_process.storage_node import NOON, record
from tests.in_process.waiting import Clock

pytestmark = pytest.mark.system
Two = tuple[Customer, Customer]
SECOND = 1_000_000


def of(acme: Customer) -> Indexed:
    assert acme.indexed is not None
    return acme.indexed


async def now(acme: Customer) -> int:
    async with acme.database.reading() as connection:
        return await of(acme).now(connection)


async def note(acme: Customer, moment: int, age: float = 0.0) -> None:
    async with acme.database.writing() as connection:
        await of(acme).note(connection, moment, age)


async def told(acme: Customer, **values: object) -> None:
    async with acme.database.writing() as connection:
        await connection.execute(nodes.update().where(nodes.c.node == acme.keys.node).values(**values))


async def test_what_was_noted_never_goes_back(two_nodes: Two) -> None:
    one, _ = two_nodes
    moment = await now(one)
    await note(one, moment, age=3.0)
    await note(one, moment, age=9.0)
    assert await of(one).until() == moment - round((3.0 + MARGIN_SECONDS) * SECOND)


async def test_a_node_waits_for_the_others_unless_they_are_retired(two_nodes: Two) -> None:
    one, other = two_nodes
    moment = await now(one)
    await note(other, moment)
    assert await of(one).behind(moment) == ["rec2"] and not await of(one).reached(0.3)
    await note(other, moment + 2 * SECOND)
    assert await of(one).behind(moment) == []
    await told(other, seen=moment - 60 * SECOND, indexed_until=moment - 60 * SECOND)
    late = moment + 3600 * SECOND
    assert await of(one).behind(late) == ["rec2"] and await of(one).behind(late, away=False) == []
    assert await of(one).reached(0.3, away=False) and not await of(one).reached(0.3)
    await told(other, state="retired")
    assert await of(one).behind(late) == []


async def test_others_are_known_by_name_and_state(two_nodes: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = two_nodes
    monkeypatch.setattr(present, "KNOWN_SECONDS", -1.0)
    assert one.nodes is not None

    async def states() -> dict[str, NodeState]:
        assert one.nodes is not None
        return {each.name: each.state for each in (await one.nodes.all()).values()}

    assert await states() == {"rec1": NodeState.ACTIVE, "rec2": NodeState.ACTIVE}
    await told(other, state="draining")
    assert (await states())["rec2"] is NodeState.DRAINING
    await told(other, seen=(await now(one)) - 31 * SECOND)
    assert (await states())["rec2"] is NodeState.AWAY
    await told(other, state="retired")
    assert (await states())["rec2"] is NodeState.RETIRED
    assert await one.nodes.of(7) is None


async def test_the_indexer_notes_it_with_the_calls_that_it_writes(two_nodes: Two) -> None:
    one, _ = two_nodes
    clock = Clock()
    indexer = Indexer(clock, lambda call, problem: None)
    row = await record(one)
    before = await now(one)
    indexer.put(one, row, ())
    running = asyncio.create_task(indexer.run())
    await indexer.drain(10)
    assert before - 2 * SECOND < await of(one).until() < await now(one)
    running.cancel()


async def test_what_still_waits_is_not_said_to_be_there(two_nodes: Two) -> None:
    one, _ = two_nodes
    clock = Clock()
    indexer = Indexer(clock, lambda call, problem: None)
    indexer.put(one, await live(one), ())  # waits for two seconds, and nobody writes
    clock.at += 30.0
    moment = await now(one)
    until = await indexer.note(one, moment)
    assert until == await of(one).until()
    assert moment - 32 * SECOND < until < moment - 28 * SECOND


async def test_nothing_is_said_while_recordings_are_looked_for(two_nodes: Two) -> None:
    one, _ = two_nodes
    indexer = Indexer(Clock(), lambda call, problem: None)
    lacking = True
    indexer.follow_repair(lambda customer, seconds: asyncio.sleep(0, True), lambda customer: lacking)
    assert await indexer.note(one, await now(one)) == 0 == await of(one).until()
    lacking = False
    assert await indexer.note(one, await now(one)) == await of(one).until() > 0


async def live(acme: Customer) -> CallRow:
    row = await record(acme, state=CallState.RECORDING)
    await acme.calls.remove([row.id])
    async with acme.database.reading() as connection:
        assert not await connection.scalar(sa.text("SELECT count(*) FROM calls"))
    return replace(row, ended_at=None, started_at=NOON)
