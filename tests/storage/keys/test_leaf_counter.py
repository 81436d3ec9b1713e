"""Numbers of recordings: each once, over threads, processes, restarts and nodes."""

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.errors import DiskFailed, KeysError, KeysMissing, KeysWrong
from storage.files.durable_files import Disk
from storage.keys.key_tree import leaf_of
from storage.keys.leaf_counter import (
    BLOCK,
    BLOCKS,
    COUNTER_BITS,
    FILE_BYTES,
    LOW_WATER,
    MAX_DAYS,
    Leaves,
    create_leaves,
)

DAY = 20_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_leaves(tmp_path / "acme.leaves", Disk())
    return tmp_path / "acme.leaves"


def leaves(path: Path, node: int = 0, disk: Disk | None = None) -> Leaves:
    return Leaves(path, node, disk or Disk())


class Counted(Disk):
    """Count the syncs."""

    syncs = 0

    def sync(self, fd: int) -> None:
        self.syncs += 1
        super().sync(fd)


def test_numbers_go_up_and_each_block_is_synced_once(path: Path) -> None:
    disk = Counted()
    source = leaves(path, disk=disk)
    assert [source.take(DAY) for _ in range(BLOCK)] == [leaf_of(DAY, number) for number in range(BLOCK)]
    assert disk.syncs == 1
    source.take(DAY)
    assert disk.syncs == 2
    assert source.take(DAY + 1) == leaf_of(DAY + 1, 0)
    assert leaves(path, 3).take(DAY) >> COUNTER_BITS & 0xFF == 3
    for node in (-1, 256):
        with pytest.raises(ValueError):
            leaves(path, node)


def test_a_restart_and_another_process_begin_a_new_block(path: Path) -> None:
    one, two = leaves(path), leaves(path)
    given = [source.take(DAY) for _ in range(3000) for source in (one, two)] + [leaves(path).take(DAY)]
    assert len(set(given)) == len(given)


def test_the_counter_is_locked_while_it_is_raised(path: Path) -> None:
    class Watching(Disk):
        held = False

        def write(self, fd: int, data: bytes, offset: int) -> None:
            with path.open("rb") as other:
                try:
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self.held = True
            super().write(fd, data, offset)

    disk = Watching()
    leaves(path, disk=disk).take(DAY)
    assert disk.held


def test_threads_share_numbers_without_duplicates(path: Path) -> None:
    source = leaves(path)
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda _: source.take(DAY), range(6400)))
    assert len(set(given)) == 6400


def test_a_block_is_refilled_before_it_is_used_up(path: Path) -> None:
    disk = Counted()
    source = leaves(path, disk=disk)
    assert source.low(DAY)
    source.refill(DAY)
    for _ in range(BLOCK - LOW_WATER):
        source.take(DAY)
    assert not source.low(DAY)
    source.take(DAY)
    assert source.low(DAY)
    source.refill(DAY)
    given = [source.take(DAY) for _ in range(BLOCK)]
    assert given == sorted(set(given))
    assert disk.syncs == 2


def test_skipping_goes_past_every_number_named(path: Path) -> None:
    source = leaves(path)
    source.take(DAY)
    source.skip([leaf_of(DAY, 5 * BLOCK), leaf_of(DAY, 3), leaf_of(DAY + 1, 1), leaf_of(DAY, 7 << COUNTER_BITS | 9)])
    assert source.take(DAY) == leaf_of(DAY, 6 * BLOCK)
    assert source.take(DAY + 1) == leaf_of(DAY + 1, BLOCK)
    source.skip([leaf_of(DAY, 0)])
    assert source.take(DAY) == leaf_of(DAY, 7 * BLOCK)


def test_a_day_ends_when_its_numbers_do(path: Path) -> None:
    source = leaves(path)
    source.skip([leaf_of(DAY, (BLOCKS - 1) * BLOCK - 1)])
    for _ in range(BLOCK):
        source.take(DAY)
    source.skip([leaf_of(DAY + 1, (1 << COUNTER_BITS) - 1)], spare=4)  # keys restored late on a busy day
    for day in (DAY, DAY + 1):
        with pytest.raises(KeysError):
            source.take(day)
    assert source.take(DAY + 2)


def test_any_number_of_days_costs_little_memory(path: Path) -> None:
    source = leaves(path)
    for day in range(50):
        source.take(day)
    for day in (50 - MAX_DAYS, 49):  # the newest days are those that are kept
        source.refill(day)
        assert source.take(day) == leaf_of(day, 1)
    assert source.take(0) == leaf_of(0, BLOCK)
    for day in (-1, 1 << 16):
        with pytest.raises(ValueError):
            source.take(day)


def test_a_block_that_is_not_durable_is_not_used(path: Path) -> None:
    class Failing(Disk):
        def sync(self, fd: int) -> None:
            raise OSError(5, "lost")

    with pytest.raises(DiskFailed):
        leaves(path, disk=Failing()).take(DAY)


def test_a_missing_or_damaged_counter_never_starts_over(path: Path) -> None:
    for damage in (b"", b"x" * FILE_BYTES, path.read_bytes()[:-1]):
        path.write_bytes(damage)
        with pytest.raises(KeysWrong):
            leaves(path)
    os.unlink(path)
    with pytest.raises(KeysMissing) as caught:
        leaves(path)
    assert caught.value.hint
