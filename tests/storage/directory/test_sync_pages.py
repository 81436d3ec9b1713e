"""What was read of a directory is gone on with, sealed, until it ends, is too old, or somebody is deleted."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from storage.customer.customers import Customer
from storage.directory.sync_pages import FILE_NAME, DirectoryPages
from storage.directory.user import Change, Person
from storage.errors import DiskFailed
from storage.keys.key_store import CustomerKeys
from tests.in_process.storage_node import NOON

MIRA = Change("id-1", {"first_name": "Mira", "numbers": ("+4930123456", "+4930123457")})
GONE = Change("id-2", {}, gone=True)
TOVE = Change("id-3", {"first_name": "Tove"})


@pytest.fixture
def again(keys: CustomerKeys, tmp_path: Path) -> Callable[[], DirectoryPages]:
    """Open what is kept, as a process that starts does."""
    return lambda: DirectoryPages(tmp_path, keys, "entra")


Again = Callable[[], DirectoryPages]


def changes(again: Again) -> tuple[Change, ...]:
    """Return what a process that starts goes on with."""
    kept = again().read(NOON)
    return () if kept is None else tuple(kept.changes)


async def two(pages: DirectoryPages) -> None:
    await pages.keep([MIRA, GONE], "https://x/2", whole=True, now=NOON)
    await pages.keep([TOVE], "https://x/3", whole=True, now=NOON)


async def test_a_new_process_goes_on_and_adds_to_it(again: Again, tmp_path: Path) -> None:
    await two(again())
    pages = again()
    kept = pages.read(NOON + timedelta(hours=1))
    assert kept is not None and kept.whole and kept.next == "https://x/3" and kept.changes == (MIRA, GONE, TOVE)
    await pages.keep([TOVE], "https://x/4", whole=True, now=NOON)
    kept = again().read(NOON)
    assert kept is not None and kept.next == "https://x/4" and kept.changes == (MIRA, GONE, TOVE, TOVE)
    text = (tmp_path / FILE_NAME).read_bytes()
    assert not any(word in text for word in (b"Mira", b"4930123456", b"https"))
    assert "Mira" not in repr(kept) and "https" not in repr(kept)


async def test_without_a_file_there_is_nothing(again: Again) -> None:
    assert again().read(NOON) is None and again().leaves() == ()
    await again().forget()


@pytest.mark.parametrize("after", [timedelta(hours=13), timedelta(seconds=-1)])
async def test_sync_pages_too_old_or_in_the_future_are_dropped(again: Again, after: timedelta) -> None:
    await two(again())
    pages = again()
    assert pages.read(NOON + after) is None
    await pages.keep([TOVE], "https://x/2", whole=False, now=NOON)
    kept = again().read(NOON)
    assert kept is not None and kept.changes == (TOVE,) and not kept.whole


async def test_whatever_a_kill_leaves_is_a_prefix(again: Again, tmp_path: Path) -> None:
    await two(again())
    whole, seen = (tmp_path / FILE_NAME).read_bytes(), []
    for length in range(len(whole) + 1):
        (tmp_path / FILE_NAME).write_bytes(whole[:length])
        seen.append(len(changes(again)))
    assert seen == sorted(seen) and set(seen) == {0, 2, 3}
    (tmp_path / FILE_NAME).write_bytes(whole[:-5])
    pages = again()
    assert pages.read(NOON) is not None
    await pages.keep([GONE], "https://x/9", whole=True, now=NOON)
    assert changes(again) == (MIRA, GONE, GONE)


async def test_an_ended_synchronisation_cuts_its_key(again: Again, keys: CustomerKeys, tmp_path: Path) -> None:
    pages = again()
    await two(pages)
    copy = (tmp_path / FILE_NAME).read_bytes()
    (leaf,) = pages.leaves()
    await pages.forget()
    assert not (tmp_path / FILE_NAME).exists() and not keys.keeps(leaf)
    (tmp_path / FILE_NAME).write_bytes(copy)  # out of an old backup
    assert again().read(NOON) is None and again().leaves() == ()


async def test_after_a_deletion_nothing_more_is_kept(again: Again, keys: CustomerKeys) -> None:
    pages = again()
    await two(pages)
    keys.cut(*pages.leaves())
    await pages.keep([TOVE], "https://x/4", whole=True, now=NOON)
    assert again().read(NOON) is None


async def test_no_more_is_kept_than_has_room(again: Again, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.directory.sync_pages.MAX_BYTES", 300)
    pages = again()
    await two(pages)
    for number in range(9):
        await pages.keep([GONE], f"https://x/{number}", whole=True, now=NOON)
    kept = again().read(NOON)
    assert kept is not None and kept.next in ("https://x/2", "https://x/3")


async def test_pages_that_cannot_be_kept_are_a_disk_failure(again: Again, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(DiskFailed):
        await two(again())


async def test_the_deletion_of_a_user_takes_it_along(acme: Customer) -> None:
    await acme.users.carry_out(await acme.users.plan([Person("Mira", email="mira@x.example")], "csv", whole=True))
    (mira,), _ = await acme.users.listed(10)
    await acme.users.unmap(mira.id)
    pages = DirectoryPages(acme.folder, acme.keys, "entra")
    await two(pages)
    assert await acme.users.delete(mira.id)
    assert DirectoryPages(acme.folder, acme.keys, "entra").read(NOON) is None
