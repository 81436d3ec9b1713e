"""A hold is set, explained, lifted; and never set on what is going already."""

import asyncio
from pathlib import Path

import pytest

from storage.customer.customers import Customer
from storage.erasure.holds import NoCall
from storage.keys.sealing import MAX_TEXT
from tests.in_process.storage_node import StorageNode, permit, record, story

NOBODY = "00000000-0000-4000-8000-000000000000"


def test_a_hold_is_shown_with_its_reason_and_lifted(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        row = await record(acme)
        assert await acme.holds.get(row.id) is None
        await acme.holds.put(row.id, "case 4 U 12/26", "paula")
        await acme.holds.put(row.id, "case 5 U 1/26", "paula")
        hold = await acme.holds.get(row.id)
        assert hold and (hold.reason, hold.set_by, hold.set_at) == ("case 5 U 1/26", "paula", node.watch())
        assert (await acme.calls.get(row.id)).hold  # type: ignore[union-attr]  # it is there
        assert await acme.holds.remove(row.id)
        assert not await acme.holds.remove(row.id)
        assert not (await acme.calls.get(row.id)).hold  # type: ignore[union-attr]  # it is there
        assert b"case 5" not in node.raw()

    story(tmp_path, tell)


def test_lifting_a_hold_wakes_who_waits_for_it(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        row = await record(acme)
        await acme.holds.put(row.id, "x", "paula")
        assert not acme.erasures.wanted.is_set()
        await acme.holds.remove(row.id)
        assert acme.erasures.wanted.is_set()

    story(tmp_path, tell)


def test_an_unknown_or_erased_call_cannot_be_held(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        row = await record(acme)
        await permit(acme)
        await acme.erasures.file(calls=[row.id], reason="x", by="paula")
        await acme.erasures.work()
        for call in (row.id, NOBODY):
            with pytest.raises(NoCall):
                await acme.holds.put(call, "x", "paula")
            with pytest.raises(NoCall):
                await acme.holds.remove(call)

    story(tmp_path, tell)


def test_a_reason_is_kept_as_far_as_it_is_shown(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        row = await record(acme)
        said = await acme.holds.put(row.id, "x" * (MAX_TEXT + 1), "paula")
        found = await acme.holds.get(row.id)
        assert found == said
        assert len(said.reason) == MAX_TEXT

    story(tmp_path, tell)


def test_a_call_with_a_cut_key_has_no_hold(tmp_path: Path) -> None:
    """An old database may bring rows back; the key does not come back with them."""

    async def tell(node: StorageNode, acme: Customer) -> None:
        row = await record(acme)
        await acme.holds.put(row.id, "court", "paula")
        acme.keys.cut(row.leaf)
        assert await acme.holds.get(row.id) is None
        with pytest.raises(NoCall):
            await acme.holds.put(row.id, "court", "paula")

    story(tmp_path, tell)


def test_a_call_awaiting_approval_can_still_be_held(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        row = await record(acme)
        await permit(acme)
        filed = await acme.erasures.file(calls=[row.id], reason="x", by="paula", approval=True)
        await acme.holds.put(row.id, "court", "otto")
        await acme.erasures.approve(filed.id, by="anna")
        await acme.erasures.work()
        assert acme.keys.keeps(row.leaf)

    story(tmp_path, tell)


def test_a_call_whose_erasure_has_begun_cannot_be_held(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        row = await record(acme)
        await permit(acme)
        await acme.erasures.file(calls=[row.id], reason="x", by="paula")

        tried: list[bool] = []

        async def stop(call: str) -> None:
            try:
                await acme.holds.put(call, "too late", "paula")
            except NoCall:
                tried.append(False)
            else:
                tried.append(True)

        acme.vault.create(row.id, row.leaf, "m2")
        await acme.erasures.work(stop)
        assert tried == [False] and not acme.keys.keeps(row.leaf)

    story(tmp_path, tell)


def test_two_processes_that_hold_one_call_at_once_both_hold_it(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        row = await record(acme)
        other = await node.open()
        for turn in range(10):
            await asyncio.gather(acme.holds.put(row.id, f"{turn}", "paula"), other.holds.put(row.id, f"{turn}", "otto"))
            hold = await other.holds.get(row.id)
            assert hold and hold.reason == f"{turn}"
            assert sum(await asyncio.gather(acme.holds.remove(row.id), other.holds.remove(row.id))) == 1
        await other.close()

    story(tmp_path, tell)


def test_of_a_hold_and_an_erasure_in_two_processes_one_wins(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        await permit(acme)
        other = await node.open()
        for _ in range(10):
            row = await record(acme)
            await acme.erasures.file(calls=[row.id], reason="x", by="paula")
            held, _ = await asyncio.gather(_held(other, row.id), acme.erasures.work())
            assert held == acme.keys.keeps(row.leaf)
        await other.close()

    story(tmp_path, tell)


async def _held(customer: Customer, call: str) -> bool:
    try:
        await customer.holds.put(call, "court", "otto")
    except NoCall:
        return False
    return True
