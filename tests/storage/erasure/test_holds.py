"""A hold is set, explained, lifted; and never set on what is going already."""

import asyncio

import pytest

from storage.calls.call_row import CallRow
from storage.customer.customers import Customer
from storage.erasure.holds import NoCall
from tests.in_process.storage_node import NOBODY, StorageNode, finish, permit, record

pytestmark = pytest.mark.both_databases


async def test_a_hold_is_shown_with_its_reason_and_lifted(node: StorageNode, acme: Customer, row: CallRow) -> None:
    assert await acme.holds.get(row.id) is None
    await acme.holds.put(row.id, "case 4 U 12/26", "paula")
    await acme.holds.put(row.id, "case 5 U 1/26", "paula")
    hold = await acme.holds.get(row.id)
    assert hold and (hold.reason, hold.set_by, hold.set_at) == ("case 5 U 1/26", "paula", node.watch())
    assert (await acme.calls.get(row.id)).hold and await acme.holds.every() == {(row.id, row.leaf)}
    assert await acme.holds.remove(row.id)
    assert await acme.holds.every() == frozenset() and not await acme.holds.remove(row.id)
    assert not (await acme.calls.get(row.id)).hold
    assert b"case 5" not in node.raw()


async def test_a_call_that_the_index_had_lost_comes_back_as_held(acme: Customer, row: CallRow) -> None:
    await acme.holds.put(row.id, "court", "paula")
    await acme.calls.remove([row.id])
    assert await acme.holds.every() == {(row.id, row.leaf)}
    await acme.calls.put([row], [()])  # as a call that was live meanwhile writes its row again
    assert (await acme.calls.get(row.id)).hold
    await acme.holds.remove(row.id)
    await acme.calls.put([row], [()])
    assert not (await acme.calls.get(row.id)).hold


async def test_an_unknown_or_erased_call_cannot_be_held(acme: Customer) -> None:
    row, cut = await record(acme), await record(acme)
    await permit(acme)
    await acme.holds.put(cut.id, "court", "paula")
    acme.keys.cut(cut.leaf)  # an old database may bring rows back; the key does not come back with them
    assert await acme.holds.get(cut.id) is None
    await finish(acme, calls=[row.id])
    for call in (row.id, NOBODY, cut.id):
        with pytest.raises(NoCall):
            await acme.holds.put(call, "x", "paula")
    for call in (row.id, NOBODY):
        with pytest.raises(NoCall):
            await acme.holds.remove(call)


async def test_a_call_whose_erasure_has_begun_cannot_be_held(acme: Customer, row: CallRow) -> None:
    await permit(acme)
    await acme.erasures.file(calls=[row.id], reason="x", by="paula")
    tried: list[bool] = []

    async def stop(call: str) -> None:
        tried.append(await _held(acme, call))

    acme.vault.create(row.id, row.leaf, "m2")
    await acme.erasures.work(stop)
    assert tried == [False] and not acme.keys.keeps(row.leaf)


async def test_of_a_hold_and_an_erasure_in_two_processes_one_wins(node: StorageNode, acme: Customer) -> None:
    await permit(acme)
    async with node.opened() as other:
        for _ in range(10):
            row = await record(acme)
            await acme.erasures.file(calls=[row.id], reason="x", by="paula")
            held, _ = await asyncio.gather(_held(other, row.id), acme.erasures.work())
            assert held == acme.keys.keeps(row.leaf)


async def _held(customer: Customer, call: str) -> bool:
    try:
        await customer.holds.put(call, "court", "otto")
    except NoCall:
        return False
    return True
