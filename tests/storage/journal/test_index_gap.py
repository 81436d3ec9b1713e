"""What an index lacks is remembered from before the first new call is written to it until all of it is there again."""

import asyncio
import errno
import os
from datetime import timedelta
from pathlib import Path

import pytest

from storage.customer.customers import Customer
from storage.errors import DiskFailed, NoSpace
from storage.files.durable_files import Disk
from storage.journal.index_gap import FILE_NAME, LOOK_BACK_DAYS, Gap
from storage.journal.journal import set_mark
from storage.timestamps import day_of
from tests.in_process.storage_node import NOON, StorageNode, permit, record

TODAY = day_of(NOON)


def test_a_gap_only_widens_until_it_is_closed(tmp_path: Path) -> None:
    gap = Gap(tmp_path)
    assert gap.first() is None
    gap.widen(20)
    gap.widen(30)
    assert Gap(tmp_path).first() == 20
    gap.widen(0)
    assert Gap(tmp_path).first() == 0
    gap.close()
    gap.close()
    assert gap.first() is None and os.listdir(tmp_path) == []


def test_closing_no_gap_works_on_a_read_only_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, "read-only")  # what Linux says before it looks whether there is such a file

    monkeypatch.setattr(Disk, "unlink", read_only)
    Gap(tmp_path).close()
    Gap(tmp_path).widen(20)
    with pytest.raises(DiskFailed):
        Gap(tmp_path).close()


def test_an_unreadable_gap_file_means_all_days(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"\xff")
    assert Gap(tmp_path).first() == 0


def test_a_full_disk_makes_it_forget_only_in_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise NoSpace("full")

    monkeypatch.setattr(Disk, "replace", full)
    gap = Gap(tmp_path)
    gap.widen(20)
    assert gap.first() == 20 and Gap(tmp_path).first() is None


async def test_an_index_that_is_as_it_was_left_has_none(node: StorageNode, acme: Customer) -> None:
    assert acme.gap.first() is None, "a new customer has nothing that could be missing"
    await record(acme)
    await acme.open_database()
    for quiet in (LOOK_BACK_DAYS, 9):
        node.watch.wait(days=quiet)
        await acme.open_database()
        assert acme.gap.first() is None


async def test_a_lost_index_lacks_everything_despite_later_writes(acme: Customer) -> None:
    await acme.calls.remove([(await record(acme, ended=NOON - timedelta(days=90))).id])
    await acme.open_database()
    await record(acme)
    await acme.open_database()
    assert acme.gap.first() == 0


async def test_one_that_is_older_than_its_journal_lacks_everything(acme: Customer) -> None:
    await record(acme)
    await permit(acme)
    await permit(acme)
    async with acme.database.writing() as connection:
        await set_mark(connection, 0)
    await acme.open_database()
    assert acme.gap.first() == 0 and acme.journal.replayed


async def test_one_that_was_away_for_days_lacks_what_came_since(node: StorageNode, acme: Customer) -> None:
    await record(acme)
    await acme.calls.remove([(await record(acme)).id])
    node.watch.wait(days=9)
    await acme.open_database()
    assert acme.gap.first() == TODAY - LOOK_BACK_DAYS
    assert await asyncio.to_thread(acme.erasures.gap) == TODAY - LOOK_BACK_DAYS
