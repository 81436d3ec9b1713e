"""A backup that is brought back learns what was erased since, once, before anything is served."""

import asyncio
import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from storage.customer.customers import Customer, audit_key
from storage.erasure import erasure_rows, receipts
from storage.erasure.cut_log import Ledger
from storage.erasure.erasure_rows import RESTORED, State
from storage.erasure.erasure_steps import ErasureSteps
from storage.erasure.reapply_after_restore import reapply
from storage.files.reserved_space import ReservedSpace
from tests.in_process.storage_node import NOON, StorageNode, opens, permit, record, story

NOBODY = "00000000-0000-4000-8000-000000000000"


async def erase(acme: Customer, call: str) -> str:
    filed = await acme.erasures.file(calls=[call], reason="x", by="paula")
    await acme.erasures.work()
    return filed.id


def restore(node: StorageNode, backup: Path) -> None:
    """Put the backup in the place of everything but the keys."""
    shutil.rmtree(node.data / "customers")
    shutil.copytree(backup / "customers", node.data / "customers")


@pytest.mark.sqlite  # works on copies of the data directory, which hold no rows of a server
def test_files_rows_and_receipts_follow_the_keys(tmp_path: Path) -> None:
    known = []

    async def tell(node: StorageNode, acme: Customer) -> None:
        gone, stays = await record(acme), await record(acme, name="Tove Lind")
        old = await record(acme, ended=NOON - timedelta(days=200))
        await permit(acme)
        node.backup(tmp_path / "backup")
        filed = await acme.erasures.file(calls=[gone.id, NOBODY], reason="x", by="paula", approval=True)
        await acme.erasures.approve(filed.id, by="anton")
        await acme.erasures.work()
        swept = await acme.retention.sweep(node.watch(), 100)
        await acme.erasures.work()
        known.append((node, gone, stays, old, filed.id, swept.filed[0]))

    async def again() -> None:
        node, gone, stays, old, id, swept = known[0]
        restore(node, tmp_path / "backup")
        acme = await node.open()
        assert {ref.call for ref in acme.vault.walk()} == {stays.id} and opens(acme, stays)
        assert await acme.calls.count() == 1 and await acme.calls.get(old.id) is None
        found = await acme.erasures.get(id)
        assert found and (found.state, found.cause) == (State.DONE, RESTORED)
        receipt = receipts.verify(json.dumps(found.receipt).encode(), "acme", acme.audit.public_key)
        assert receipt["calls"] == sorted([gone.id, NOBODY])
        assert (receipt["requested_by"], receipt["approved_by"]) == ("paula", "anton")
        of_retention = await acme.erasures.get(swept)
        assert of_retention and of_retention.receipt and of_retention.receipt["calls"] == [old.id]
        assert of_retention.receipt["requested_by"] == "recorder"
        await acme.close()

    story(tmp_path, tell)
    asyncio.run(again())


@pytest.mark.sqlite  # works on copies of the data directory, which hold no rows of a server
def test_erasures_that_shared_a_cut_get_separate_receipts(tmp_path: Path) -> None:
    known = []

    async def tell(node: StorageNode, acme: Customer) -> None:
        first, second = await record(acme), await record(acme, name="Tove Lind", number="+4940777888")
        await permit(acme)
        node.backup(tmp_path / "backup")
        filed = [await acme.erasures.file(calls=[row.id], reason="x", by="paula") for row in (first, second)]
        both = await acme.erasures.file(party="Mira Okafor", reason="x", by="piet")
        await acme.erasures.work()
        assert len((node.data / "keys" / "acme.erasures").read_bytes().splitlines()) == 1
        known.append((node, {one.id: [row.id] for one, row in zip(filed, (first, second), strict=True)}))
        known[0][1][both.id] = [first.id]

    async def again() -> None:
        node, wanted = known[0]
        restore(node, tmp_path / "backup")
        acme = await node.open()
        for id, calls in wanted.items():
            found = await acme.erasures.get(id)
            assert found and found.receipt and found.receipt["calls"] == calls
        await acme.close()

    story(tmp_path, tell)
    asyncio.run(again())


@pytest.mark.sqlite  # works on copies of the data directory, which hold no rows of a server
def test_a_cut_that_never_came_is_made_up_for(tmp_path: Path) -> None:
    known = []

    async def tell(node: StorageNode, acme: Customer) -> None:
        gone = await record(acme)
        await permit(acme)
        node.backup(tmp_path / "backup")
        keys = tmp_path / "keys-before"
        shutil.copytree(node.data / "keys", keys)
        await erase(acme, gone.id)
        shutil.copy(node.data / "keys" / "acme.erasures", keys)
        known.append((node, gone, keys))

    async def again() -> None:
        node, gone, keys = known[0]
        restore(node, tmp_path / "backup")
        shutil.rmtree(node.data / "keys")
        shutil.copytree(keys, node.data / "keys")
        acme = await node.open()
        assert not acme.keys.keeps(gone.leaf) and list(acme.vault.walk()) == []
        await acme.close()

    story(tmp_path, tell)
    asyncio.run(again())


@pytest.mark.sqlite  # works on copies of the data directory, which hold no rows of a server
def test_an_erasure_in_the_backup_does_not_hide_the_others(tmp_path: Path) -> None:
    known = []

    async def tell(node: StorageNode, acme: Customer) -> None:
        asked, later, stays = [await record(acme, name=name) for name in ("Mira Okafor", "Tove Lind", "Kim Stay")]
        held = await record(acme, name="Ada Court", number="+4940111222")
        await permit(acme)
        approval = (await acme.erasures.file(calls=[asked.id], reason="x", by="paula", approval=True)).id
        await acme.holds.put(held.id, "court", "paula")
        waiting = (await acme.erasures.file(party="Ada Court", reason="x", by="paula")).id
        await acme.erasures.work()
        await acme.close()
        node.backup(tmp_path / "backup")
        acme = await node.open()
        whole = await erase(acme, later.id)
        await acme.holds.remove(held.id)
        await acme.erasures.approve(approval, by="anton")
        await acme.erasures.work()
        await acme.close()
        known.append((node, {approval: asked.id, waiting: held.id, whole: later.id}, stays, approval))

    async def again() -> None:
        node, wanted, stays, approval = known[0]
        restore(node, tmp_path / "backup")
        acme = await node.open()
        assert {ref.call for ref in acme.vault.walk()} == {stays.id} and opens(acme, stays)
        assert await acme.calls.count() == 1
        assert await acme.erasures.work()
        for id, call in wanted.items():
            found = await acme.erasures.get(id)
            assert found and found.state == State.DONE
            assert receipts.verify(json.dumps(found.receipt).encode(), "acme", acme.audit.public_key)["calls"] == [call]
        granted = await acme.erasures.get(approval)
        assert granted and granted.approved_by == "anton"
        await acme.close()

    story(tmp_path, tell)
    asyncio.run(again())


@pytest.mark.sqlite  # works on copies of the data directory, which hold no rows of a server
def test_of_a_sweep_that_asked_only_what_was_erased_then_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure_rows.begin, "__defaults__", (1,))  # each day has a cut of its own
    known = []

    async def tell(node: StorageNode, acme: Customer) -> None:
        due = [await record(acme, ended=NOON - timedelta(days=days)) for days in (202, 201, 200)]
        asked = (await acme.retention.sweep(node.watch(), 5)).asked
        assert asked
        await acme.close()
        node.backup(tmp_path / "backup")
        acme = await node.open()
        await acme.holds.put(due[2].id, "court", "paula")
        assert (await acme.retention.sweep(node.watch(), 5)).asked == asked
        await acme.erasures.approve(asked, by="anton")
        await acme.erasures.work()
        await acme.close()
        known.append((node, due, asked))

    async def again() -> None:
        node, (*gone, spared), asked = known[0]
        restore(node, tmp_path / "backup")
        acme = await node.open()
        await acme.erasures.work()
        assert await acme.calls.count() == 1 and opens(acme, spared)
        found = await acme.erasures.get(asked)
        assert found and found.receipt and found.receipt["calls"] == sorted(row.id for row in gone)
        await acme.close()

    story(tmp_path, tell)
    asyncio.run(again())


def test_where_nothing_was_brought_back_nothing_is_done(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        ledger = Ledger(node.data / "keys", "acme")
        room = ReservedSpace(node.data)
        steps = ErasureSteps(acme.keys, acme.vault, acme.database, acme.calls, ledger, room, acme.exports.unlink)
        parts = (acme.database, ledger, steps, acme.journal, audit_key(acme.keys), node.watch)
        assert await reapply("acme", *parts) is None
        row = await record(acme)
        await permit(acme)
        await erase(acme, row.id)
        assert await reapply("acme", *parts) is None

    story(tmp_path, tell)
