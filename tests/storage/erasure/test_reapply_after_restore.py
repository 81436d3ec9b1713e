"""A backup that is brought back learns what was erased since, once, before anything is served."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from storage.customer.customers import Customer, audit_key
from storage.erasure import erasure_rows, receipts
from storage.erasure.erasure_rows import RESTORED, State
from storage.erasure.erasure_steps import ErasureSteps
from storage.erasure.reapply_after_restore import reapply
from storage.files.reserved_space import ReservedSpace
from storage.keys.cut_log import Ledger
from storage.keys.sealing import new_leaf
from tests.in_process.storage_node import NOBODY, NOON, StorageNode, opens, record

pytestmark = pytest.mark.usefixtures("waiver")


async def erase(acme: Customer, call: str) -> str:
    filed = await acme.erasures.file(calls=[call], reason="x", by="paula")
    await acme.erasures.work()
    return filed.id


async def test_files_rows_and_receipts_follow_the_keys(node: StorageNode, acme: Customer, tmp_path: Path) -> None:
    gone, stays = await record(acme), await record(acme, name="Tove Lind")
    old = await record(acme, ended=NOON - timedelta(days=200))
    node.backup(tmp_path / "backup")
    filed = await acme.erasures.file(calls=[gone.id, NOBODY], reason="x", by="paula", approval=True)
    await acme.erasures.approve(filed.id, by="anton")
    await acme.erasures.work()
    swept = await acme.retention.sweep(node.watch(), 100)
    await acme.erasures.work()
    await acme.close()
    node.restore(tmp_path / "backup")
    async with node.opened() as again:
        assert {ref.call for ref in again.vault.walk()} == {stays.id} and opens(again, stays)
        assert await again.calls.count() == 1 and await again.calls.get(old.id) is None
        found = await again.erasures.get(filed.id)
        assert found and (found.state, found.cause) == (State.DONE, RESTORED)
        receipt = receipts.verify(json.dumps(found.receipt).encode(), "acme", again.audit.public_key)
        assert receipt["calls"] == sorted([gone.id, NOBODY])
        assert (receipt["requested_by"], receipt["approved_by"]) == ("paula", "anton")
        of_retention = await again.erasures.get(swept.filed[0])
        assert of_retention and of_retention.receipt and of_retention.receipt["calls"] == [old.id]
        assert of_retention.receipt["requested_by"] == "recorder"


async def test_erasures_that_shared_a_cut_get_separate_receipts(
    node: StorageNode, acme: Customer, tmp_path: Path
) -> None:
    first, second = await record(acme), await record(acme, name="Tove Lind", number="+4940777888")
    node.backup(tmp_path / "backup")
    wanted = {(await acme.erasures.file(calls=[row.id], reason="x", by="paula")).id: row.id for row in (first, second)}
    wanted[(await acme.erasures.file(party="Mira Okafor", reason="x", by="piet")).id] = first.id
    await acme.erasures.work()
    assert len((node.data / "keys" / "acme.erasures").read_bytes().splitlines()) == 1
    await acme.close()
    node.restore(tmp_path / "backup")
    async with node.opened() as again:
        for id, call in wanted.items():
            found = await again.erasures.get(id)
            assert found and found.receipt and found.receipt["calls"] == [call]


async def test_a_cut_that_never_came_is_made_up_for(node: StorageNode, acme: Customer, tmp_path: Path) -> None:
    gone = await record(acme)
    node.backup(tmp_path / "backup")
    keys = tmp_path / "keys-before"
    shutil.copytree(node.data / "keys", keys)
    await erase(acme, gone.id)
    await acme.close()
    shutil.copy(node.data / "keys" / "acme.erasures", keys)
    node.restore(tmp_path / "backup")
    shutil.rmtree(node.data / "keys")
    shutil.copytree(keys, node.data / "keys")
    async with node.opened() as again:
        assert not again.keys.keeps(gone.leaf) and list(again.vault.walk()) == []


async def test_an_erasure_in_the_backup_does_not_hide_the_others(
    node: StorageNode, acme: Customer, tmp_path: Path
) -> None:
    asked, later, stays = [await record(acme, name=name) for name in ("Mira Okafor", "Tove Lind", "Kim Stay")]
    held = await record(acme, name="Ada Court", number="+4940111222")
    approval = (await acme.erasures.file(calls=[asked.id], reason="x", by="paula", approval=True)).id
    await acme.holds.put(held.id, "court", "paula")
    waiting = (await acme.erasures.file(party="Ada Court", reason="x", by="paula")).id
    await acme.erasures.work()
    await acme.close()
    node.backup(tmp_path / "backup")
    async with node.opened() as again:
        whole = await erase(again, later.id)
        await again.holds.remove(held.id)
        await again.erasures.approve(approval, by="anton")
        await again.erasures.work()
    node.restore(tmp_path / "backup")
    async with node.opened() as again:
        assert {ref.call for ref in again.vault.walk()} == {stays.id} and opens(again, stays)
        assert await again.calls.count() == 1
        assert await again.erasures.work()
        for id, call in ((approval, asked.id), (waiting, held.id), (whole, later.id)):
            found = await again.erasures.get(id)
            assert found and found.state == State.DONE
            receipt = receipts.verify(json.dumps(found.receipt).encode(), "acme", again.audit.public_key)
            assert receipt["calls"] == [call]
        granted = await again.erasures.get(approval)
        assert granted and granted.approved_by == "anton"


async def test_of_a_sweep_that_asked_only_what_was_erased_then_goes(
    node: StorageNode, acme: Customer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure_rows.begin, "__defaults__", (1,))  # each day has a cut of its own
    *gone, spared = [await record(acme, ended=NOON - timedelta(days=days)) for days in (202, 201, 200)]
    asked = (await acme.retention.sweep(node.watch(), 5)).asked
    assert asked
    await acme.close()
    node.backup(tmp_path / "backup")
    async with node.opened() as again:
        await again.holds.put(spared.id, "court", "paula")
        assert (await again.retention.sweep(node.watch(), 5)).asked == asked
        await again.erasures.approve(asked, by="anton")
        await again.erasures.work()
    node.restore(tmp_path / "backup")
    async with node.opened() as again:
        await again.erasures.work()
        assert await again.calls.count() == 1 and opens(again, spared)
        found = await again.erasures.get(asked)
        assert found and found.receipt and found.receipt["calls"] == sorted(row.id for row in gone)


async def test_where_nothing_was_brought_back_nothing_is_done(node: StorageNode, acme: Customer) -> None:
    ledger = Ledger(node.data / "keys", "acme")
    room = ReservedSpace(node.data)
    steps = ErasureSteps(acme.keys, acme.vault, acme.database, acme.calls, room, acme.exports.unlink)
    parts = (acme.database, ledger, steps, acme.journal, audit_key(acme.keys), node.watch)
    assert await reapply("acme", *parts) is None
    row = await record(acme)
    await erase(acme, row.id)
    assert await reapply("acme", *parts) is None
    acme.keys.cut(new_leaf(acme.keys))  # a line that is for no erasure says nothing of the database
    assert ledger.last() != next(entry for entry in ledger.newest_first() if entry.erasures)
    assert await reapply("acme", *parts) is None
