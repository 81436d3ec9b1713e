"""Many waits of the loop, one sync of the thread."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import pytest

from recorder.persist.durability import PAUSE_SECONDS, Durability
from storage.errors import SyncFailed
from storage.vault.group_sync import Syncer

LONG = 30.0


class Disk:
    """Counts its syncs, lets each begin only when it may, and fails when told to."""

    def __init__(self, allowed: int = 1000) -> None:
        self.syncs = 0
        self.broken = False
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(allowed)

    def sync(self, _: int) -> None:
        self.begun.release()
        self.go.acquire(timeout=LONG)
        self.syncs += 1
        if self.broken:
            raise OSError(errno.EIO, "broken")


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def syncer(tmp_path: Path, disk: Disk) -> Iterator[Syncer]:
    with closing(Syncer(tmp_path, disk.sync)) as made:
        yield made


async def test_who_comes_at_about_the_same_time_shares_a_sync(
    syncer: Syncer, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable, wait, asked = Durability(syncer), syncer.wait, list[int]()

    def counted(*, epoch: int) -> Future[None]:
        asked.append(epoch)
        return wait(epoch=epoch)

    monkeypatch.setattr(syncer, "wait", counted)
    gone = durable.wait(0)
    gone.cancel()
    async with asyncio.timeout(LONG):
        await asyncio.gather(*(durable.wait(0) for _ in range(50)))
        assert (len(asked), disk.syncs) == (1, 1)
        await durable.wait(0)
    assert disk.syncs == 2


async def test_a_waiter_needs_a_sync_begun_after_it(tmp_path: Path) -> None:
    disk = Disk(allowed=0)
    with closing(Syncer(tmp_path, disk.sync)) as syncer:
        durable = Durability(syncer)
        early = durable.wait(0)
        assert await asyncio.to_thread(disk.begun.acquire, timeout=LONG)  # its sync runs now
        late = durable.wait(0)
        await asyncio.sleep(2 * PAUSE_SECONDS)
        disk.go.release()
        await asyncio.wait_for(early, LONG)
        assert (disk.syncs, late.done()) == (1, False)
        disk.go.release()
        await asyncio.wait_for(late, LONG)
    assert disk.syncs == 2


async def test_a_sync_failure_reaches_everyone_who_wrote_before(syncer: Syncer, disk: Disk) -> None:
    durable = Durability(syncer)
    disk.broken = True
    failed = await asyncio.gather(durable.wait(0), durable.wait(0), return_exceptions=True)
    disk.broken = False
    later = await asyncio.gather(durable.wait(0), durable.wait(syncer.epoch), return_exceptions=True)
    assert [type(each) for each in (*failed, *later)] == [SyncFailed, SyncFailed, SyncFailed, type(None)]
