"""Many waits of the loop, one sync of the thread."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from recorder.persist.group_sync import Durability
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


def play(folder: Path, story: Callable[[Syncer, Disk], object], allowed: int = 1000) -> None:
    disk = Disk(allowed)
    with closing(Syncer(folder, disk.sync)) as syncer:
        asyncio.run(asyncio.wait_for(story(syncer, disk), LONG))  # type: ignore[arg-type]  # every story is a coroutine


def test_who_comes_at_about_the_same_time_shares_a_sync(tmp_path: Path) -> None:
    async def story(syncer: Syncer, disk: Disk) -> None:
        durable, wait, asked = Durability(syncer), syncer.wait, []

        def counted(**given: Any) -> Any:
            asked.append(1)
            return wait(**given)

        syncer.wait = counted  # type: ignore[method-assign, assignment]  # counts
        await asyncio.gather(*(durable.wait(0) for _ in range(50)))
        assert (len(asked), disk.syncs) == (1, 1)
        await durable.wait(0)
        assert disk.syncs == 2

    play(tmp_path, story)


def test_a_waiter_needs_a_sync_begun_after_it(tmp_path: Path) -> None:
    async def story(syncer: Syncer, disk: Disk) -> None:
        durable = Durability(syncer)
        early = durable.wait(0)
        assert await asyncio.to_thread(disk.begun.acquire, timeout=LONG)  # its sync runs now
        late = durable.wait(0)
        while not syncer._waiting:
            await asyncio.sleep(0.001)
        disk.go.release()
        await early
        assert disk.syncs == 1
        assert not late.done()
        disk.go.release()
        await late
        assert disk.syncs == 2

    play(tmp_path, story, allowed=0)


def test_a_sync_failure_reaches_everyone_who_wrote_before(tmp_path: Path) -> None:
    async def story(syncer: Syncer, disk: Disk) -> None:
        durable = Durability(syncer)
        disk.broken = True
        told = await asyncio.gather(durable.wait(0), durable.wait(0), return_exceptions=True)
        assert [type(x) for x in told] == [SyncFailed, SyncFailed]
        disk.broken = False
        old, new = durable.wait(0), durable.wait(syncer.epoch)
        with pytest.raises(SyncFailed):
            await old
        await new

    play(tmp_path, story)


def test_a_cancelled_waiter_does_not_block_the_others(tmp_path: Path) -> None:
    async def story(syncer: Syncer, disk: Disk) -> None:
        durable = Durability(syncer)
        gone, other = durable.wait(0), durable.wait(0)
        gone.cancel()
        await other

    play(tmp_path, story)


def test_a_sync_result_after_the_loop_ended_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk(allowed=0)
    with closing(Syncer(tmp_path, disk.sync)) as syncer:

        async def story() -> None:
            Durability(syncer).wait(0)
            assert await asyncio.to_thread(disk.begun.acquire, timeout=LONG)

        asyncio.run(story())
        disk.go.release()
    assert disk.syncs == 1
    assert not caplog.records
