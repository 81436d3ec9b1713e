"""Every second what is recorded becomes durable; where that fails once, nothing of before is ever taken for durable."""

from __future__ import annotations

import errno

from recorder.calls.sync_task import SyncTask
from storage.vault.group_sync import syncfs
from tests.in_process.recorder_node import Stage
from tests.recorder.calls.client import hang_up


class Disk:
    """A disk that fails as often as it is told."""

    def __init__(self, one: Stage) -> None:
        self.fails = self.syncs = 0
        one.resources.syncer._sync = self.sync

    def sync(self, descriptor: int) -> None:
        self.syncs += 1
        if self.fails:
            self.fails -= 1
            raise OSError(errno.EIO, "lost")
        syncfs(descriptor)


async def test_live_calls_are_synced_and_an_idle_node_is_not(one: Stage) -> None:
    disk, syncing = Disk(one), SyncTask(one.node, one.resources, one.live, one.executor)
    await syncing.turn()
    assert disk.syncs == 0
    one.invite()
    await syncing.turn()
    assert disk.syncs == 1


async def test_after_a_failed_sync_a_call_continues_in_new_parts(one: Stage) -> None:
    disk, syncing = Disk(one), SyncTask(one.node, one.resources, one.live, one.executor)
    call = one.invite()
    before = call.files.media_part, call.files.control and call.files.control.name
    disk.fails = 1
    await syncing.turn()
    assert (before, call.files.media_part, call.files.control and call.files.control.name) == ((1, "c1"), 2, "c2")
    assert not one.resources.storage.well
    assert [i["kind"] for i in one.node.incidents.of("acme")] == ["sync-failed"]
    assert call.files.epoch == one.resources.syncer.epoch == 1
    await syncing.turn()
    assert call.files.media_part == 2  # once is enough
    assert await hang_up(one) == [200]
    await one.indexer.drain(30)
    row = await one.customers["acme"].calls.get(call.id)
    assert row is not None and row.state == "interrupted"
    assert [note["kind"] for note in row.details["notes"]] == ["sync-failed"]
    assert {ref.part for ref in call.customer.vault.parts(call.id, call.leaf)} == {"c1", "c2", "m1", "m2"}
    assert [d for ref in call.customer.vault.walk() for d in call.customer.vault.verify(ref)] == []


async def test_no_bye_is_confirmed_while_the_disk_keeps_failing(one: Stage) -> None:
    disk, syncing = Disk(one), SyncTask(one.node, one.resources, one.live, one.executor)
    kept, lost = one.invite("c1"), one.invite("c2")
    disk.fails = 3
    create, vault = kept.customer.vault.create, kept.customer.vault

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "read only")

    vault.create = refuse  # type: ignore[method-assign, assignment]  # planted
    await syncing.turn()
    assert (kept.files.media_part, kept.files.epoch) == (1, 0)
    one.bye("c2")
    await one.until(lambda: len(one.live) == 1)
    assert one.statuses("BYE") == [500]
    assert lost.recording.interrupted
    vault.create = create  # type: ignore[method-assign]  # taken out again
    disk.fails = 0
    await syncing.turn()
    assert (kept.files.media_part, kept.files.epoch) == (2, one.resources.syncer.epoch)
