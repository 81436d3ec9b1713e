"""Two nodes record one session: one call in lists, and hold, retention, erasure and exports take both recordings."""

import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from storage.calls.call_document import wrapped
from storage.calls.call_index import Calls
from storage.calls.call_row import CallRow, CallState, Query
from storage.customer.customers import Customer
from storage.database.schema import calls
from storage.erasure.erasure_rows import State
from storage.exports.exports import Request
from storage.search_forms import stored_of
from storage.timestamps import day_of
from tests.in_process.shared_keys import caught_up
from tests.in_process.storage_node import NOON, StorageNode, permit, record

pytestmark = pytest.mark.both_databases
SESSION = "hVpd7YQgRW2nD22h7q60JQ=="
ONCE = Query(each_once=True)


@pytest.fixture
def node(tmp_path: Path, database_url: str) -> StorageNode:
    return StorageNode(tmp_path / "data", database=database_url, number=1)


async def elsewhere(acme: Customer, like: CallRow, *, seen: bool = True, **changes) -> CallRow:
    """Record the same session at node 2; `changes` are members of the row.

    Unless `seen`, the database knows nothing of what was asked for the session before, as after a fail-over.
    """

    async def joined(connection, ids):
        for each in (acme.holds.join, acme.erasures.join) if seen else ():
            await each(connection, ids)

    other = Calls(acme.database, acme.keys, "DE", 2, several=True, joined=joined)
    leaf = acme.keys.allocate(day_of(NOON))
    row = replace(like, **{"id": str(uuid.uuid4()), "leaf": leaf, "hold": False, **changes})
    await other.put([row], [stored_of(row.details["parties"], "DE")])
    return row


async def carry_out(acme: Customer) -> bool:
    """Carry out erasures to the end: several nodes finish after all who hold the keys have acknowledged the cut."""
    for _ in range(4):
        well = await acme.erasures.work()
        if not await acme.erasures.open():
            return well
        await caught_up(acme)
    return False


async def shown(acme: Customer, query: Query = ONCE) -> list[str]:
    return [row.id for row in (await acme.calls.find(query)).items]


async def test_a_session_that_two_nodes_recorded_is_listed_once(acme: Customer) -> None:
    first = await record(acme, session_id=SESSION)
    twin = await elsewhere(acme, first, started_at=first.started_at + timedelta(seconds=2))
    alone = await record(acme, session_id="another session, of this node only")
    assert set(await shown(acme)) == {first.id, alone.id}
    assert set(await shown(acme, replace(ONCE, party=first.details["parties"][0]["number"]))) == {first.id, alone.id}
    assert set(await shown(acme, Query())) == {first.id, twin.id, alone.id}


async def test_a_recording_over_at_once_is_listed_only_if_alone(acme: Customer) -> None:
    left = await record(acme, session_id=SESSION)
    async with acme.database.writing() as connection:
        await connection.execute(calls.update().values(duration_ms=7))
    assert await shown(acme) == [left.id]
    later = left.started_at + timedelta(seconds=2)
    live = await elsewhere(acme, left, state=CallState.RECORDING, started_at=later, ended_at=None, duration_ms=0)
    assert await shown(acme) == [live.id]
    await elsewhere(acme, live, id=live.id, leaf=live.leaf, state=CallState.COMPLETE, ended_at=NOON, duration_ms=9_000)
    assert await shown(acme) == [live.id]
    assert await shown(acme, replace(ONCE, party=left.details["parties"][0]["number"])) == [live.id]
    assert await shown(acme, replace(ONCE, until=later)) == [left.id]


@pytest.mark.parametrize("named", [None, "", "17", "a session of one client that is named otherwise"])
async def test_sessions_that_may_differ_stay_two_calls(acme: Customer, named: str | None) -> None:
    first = await record(acme, session_id=named if named and len(named) < 16 else SESSION)
    other = await elsewhere(acme, first, details=wrapped({**first.details, "session_id": named}))
    assert set(await shown(acme)) == {first.id, other.id}


async def test_an_id_that_comes_again_days_later_is_another_session(acme: Customer) -> None:
    first = await record(acme, session_id=SESSION)
    later = await elsewhere(acme, first, leaf=acme.keys.allocate(day_of(NOON) + 3))
    assert set(await shown(acme)) == {first.id, later.id}


async def test_one_node_tells_its_recordings_apart_by_itself(acme: Customer) -> None:
    first, again = await record(acme, session_id=SESSION), await record(acme, session_id=SESSION)
    assert set(await shown(acme)) == {first.id, again.id}


async def test_a_recording_that_goes_on_elsewhere_is_listed_as_live(acme: Customer) -> None:
    lost = await record(acme, session_id=SESSION, state=CallState.INTERRUPTED)
    live = await elsewhere(acme, lost, state=CallState.RECORDING, ended_at=None)
    assert await shown(acme, replace(ONCE, state=CallState.RECORDING)) == [live.id]
    assert await shown(acme) == [lost.id]


async def test_a_hold_takes_all_recordings_also_later_ones(acme: Customer) -> None:
    first = await record(acme, session_id=SESSION)
    twin = await elsewhere(acme, first)
    await acme.holds.put(twin.id, "case 4 U 12/26", "paula")
    late = [await elsewhere(acme, first), await record(acme, session_id=SESSION)]
    for call in (first, twin, *late):
        hold = await acme.holds.get(call.id)
        assert hold and hold.reason == "case 4 U 12/26" and (await acme.calls.get(call.id)).hold
    assert await acme.holds.remove(first.id)
    assert [await acme.holds.get(call.id) for call in (first, twin)] == [None, None]


async def test_an_erasure_takes_all_recordings(acme: Customer) -> None:
    await permit(acme)
    first = await record(acme, session_id=SESSION)
    twin = await elsewhere(acme, first)
    filed = await acme.erasures.file(calls=[twin.id], reason="she asked us to", by="paula")
    assert filed.calls == 2
    assert await carry_out(acme)
    done = await acme.erasures.get(filed.id)
    assert done and done.receipt and set(done.receipt["calls"]) == {first.id, twin.id}
    assert not acme.keys.keeps(first.leaf) and not acme.keys.keeps(twin.leaf)


async def test_recordings_indexed_after_an_erasure_are_erased_too(node: StorageNode, acme: Customer) -> None:
    await permit(acme)
    first = await record(acme, session_id=SESSION)
    filed = await acme.erasures.file(calls=[first.id], reason="she asked us to", by="paula")
    before = await elsewhere(acme, first)  # while the erasure runs
    assert await carry_out(acme) and not acme.keys.keeps(before.leaf)
    done = await acme.erasures.get(filed.id)
    assert done and done.receipt and set(done.receipt["calls"]) == {first.id, before.id}
    acme.erasures.wanted.clear()
    node.watch.wait(days=1)
    late = await elsewhere(acme, first)  # and after it is done
    assert acme.erasures.wanted.is_set() and await carry_out(acme)
    assert not acme.keys.keeps(late.leaf) and await acme.calls.get(late.id) is None
    (again, _), _ = await acme.erasures.done(10)
    told = await acme.erasures.get(again.id)
    assert told and told.receipt and told.receipt["calls"] == [late.id] and told.requested_by == "paula"


async def test_a_restored_request_erases_what_was_indexed_meanwhile(acme: Customer) -> None:
    await permit(acme)
    first = await record(acme, session_id=SESSION)
    await acme.erasures.file(calls=[first.id], reason="she asked us to", by="paula")
    meanwhile = await elsewhere(acme, first, seen=False)
    assert await carry_out(acme) and not acme.keys.keeps(meanwhile.leaf)


async def test_what_nobody_saw_is_erased_when_the_database_is_opened(acme: Customer) -> None:
    await permit(acme)
    first = await record(acme, session_id=SESSION)
    await acme.erasures.file(calls=[first.id], reason="she asked us to", by="paula")
    assert await carry_out(acme)
    late = await elsewhere(acme, first, seen=False)
    await acme.open_database()
    await acme.open_database()
    assert await carry_out(acme) and not acme.keys.keeps(late.leaf)
    assert len((await acme.erasures.done(10))[0]) == 2


async def test_a_sweep_takes_the_recording_that_is_not_due_yet(node: StorageNode, acme: Customer) -> None:
    first = await record(acme, session_id=SESSION)
    twin = await elsewhere(acme, first, ended_at=NOON + timedelta(minutes=5))
    await acme.retention.refresh()
    swept = await acme.retention.sweep(NOON + timedelta(days=180, seconds=1), 100)
    assert swept.due == 1 and await carry_out(acme)
    assert not acme.keys.keeps(first.leaf) and not acme.keys.keeps(twin.leaf)


async def test_an_export_contains_all_recordings(acme: Customer) -> None:
    first = await record(acme, session_id=SESSION)
    twin = await elsewhere(acme, first)
    made = await acme.exports.file(Request("json", ("id",), "letter 12", calls=(twin.id,)), "paula")
    assert made.request and made.request.calls == (twin.id, first.id)


async def test_a_second_request_waits_for_nothing_that_is_gone(acme: Customer) -> None:
    await permit(acme)
    first = await record(acme, session_id=SESSION)
    twin = await elsewhere(acme, first)
    both = [await acme.erasures.file(calls=[each.id], reason="x", by="paula") for each in (first, twin)]
    assert await carry_out(acme)
    assert [(await acme.erasures.get(each.id)).state for each in both] == [State.DONE, State.DONE]
