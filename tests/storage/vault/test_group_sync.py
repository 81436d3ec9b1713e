"""One sync serves many, and a failure is final."""

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.errors import SyncFailed
from storage.vault.group_sync import Syncer, syncfs


class SlowDisk:
    """A disk whose syncs wait until they are let go, and fail if so wished."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: OSError | None = None
        self.begun, self.go = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, fd: int) -> None:
        self.calls += 1
        self.begun.release()
        self.go.acquire()
        if self.error:
            raise self.error


@pytest.fixture
def disk() -> SlowDisk:
    return SlowDisk()


@pytest.fixture
def syncer(tmp_path: Path, disk: SlowDisk) -> Iterator[Syncer]:
    made = Syncer(tmp_path, disk)
    yield made
    disk.go.release()
    made.close()


def test_the_real_call_makes_things_durable(tmp_path: Path) -> None:
    syncer = Syncer(tmp_path)
    assert syncer.wait().result(timeout=60) is None
    syncer.close()
    fd = os.open(tmp_path, os.O_RDONLY)
    syncfs(fd)
    os.close(fd)
    with pytest.raises(OSError) as caught:
        syncfs(fd)
    assert caught.value.errno == errno.EBADF


def test_who_comes_while_a_sync_runs_shares_the_next_one(disk: SlowDisk, syncer: Syncer) -> None:
    first = syncer.wait()
    disk.begun.acquire()
    others = [syncer.wait() for _ in range(100)]
    disk.go.release()
    first.result(timeout=60)
    assert not any(other.done() for other in others)
    disk.go.release()
    for other in others:
        other.result(timeout=60)
    assert disk.calls == 2


def test_a_sync_failure_reaches_every_waiter(disk: SlowDisk, syncer: Syncer) -> None:
    disk.error = OSError(errno.EIO, "lost")
    epoch = syncer.epoch
    first = syncer.wait()
    disk.begun.acquire()
    during = syncer.wait()
    disk.go.release()
    for future in (first, during):
        with pytest.raises(SyncFailed, match="EIO"):
            future.result(timeout=60)
    disk.error = None
    disk.go.release()
    assert syncer.epoch == epoch + 1
    with pytest.raises(SyncFailed):
        syncer.wait(epoch=epoch).result(timeout=60)
    assert disk.calls == 1
    assert syncer.wait(epoch=syncer.epoch).result(timeout=60) is None


def test_closing_serves_who_waits_and_refuses_later_ones(disk: SlowDisk, tmp_path: Path) -> None:
    syncer = Syncer(tmp_path, disk)
    future = syncer.wait()
    disk.go.release()
    syncer.close()
    assert future.result(timeout=0) is None
    with pytest.raises(SyncFailed):
        syncer.wait().result(timeout=0)


def test_a_cancelled_sync_wait_disturbs_no_other(disk: SlowDisk, syncer: Syncer) -> None:
    first, second = syncer.wait(), syncer.wait()
    first.cancel()
    for _ in range(2):
        disk.go.release()
    assert second.result(timeout=60) is None


def test_without_syncfs_the_given_files_are_synced(tmp_path: Path) -> None:
    syncer = Syncer(tmp_path, None)
    with (tmp_path / "file").open("wb") as file:
        future = syncer.wait([file.fileno()])
    assert future.result(timeout=60) is None
    read, write = os.pipe()
    with pytest.raises(SyncFailed, match="EINVAL"):  # a pipe cannot be synced
        syncer.wait([write]).result(timeout=60)
    os.close(read)
    os.close(write)
    syncer.close()
