"""A folder that cannot be written to is named."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from recorder.errors import NotPossible, WrongUse
from recorder.runtime.folders import PROBE, SHARED_MEMORY, in_memory, make_folder, memory_folder, probe, swapping, swaps


def test_a_missing_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    make_folder(folder)
    probe(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.iterdir()) == []
    (folder / "file").write_text("")
    with pytest.raises(NotPossible) as told:
        make_folder(folder / "file" / "c")
    assert f"{folder / 'file' / 'c'}" in told.value.sentence() and "cannot be written" in told.value.sentence()


@pytest.mark.parametrize(
    ("number", "full", "starts"),
    [(errno.ENOSPC, True, True), (errno.EDQUOT, True, True), (errno.ENOSPC, False, False), (errno.EIO, True, False)],
)
def test_a_full_disk_is_borne_where_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, full: bool, starts: bool
) -> None:
    def refuse(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with nullcontext() if starts else pytest.raises(NotPossible):
        make_folder(tmp_path, full=full)
    assert list(tmp_path.iterdir()) == []


NOBODY = 65_534


@pytest.mark.parametrize("planted", ["nothing", "folder", "link", "file inside", "link inside", "folder inside"])
def test_a_folder_that_others_have_a_hand_in_is_not_used(tmp_path: Path, planted: str) -> None:
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if planted == "link":
        folder.symlink_to(elsewhere)
    else:
        folder.mkdir()
        folder.chmod(0o1777)
        (folder / "live").mkdir()
    if planted == "link inside":
        (folder / PROBE).symlink_to(elsewhere / "any")
    elif planted in ("folder", "file inside", "folder inside"):
        if os.geteuid() != 0:
            pytest.skip("only root gives files away")
        (folder / "clock").write_text("")
        os.chown({"folder": folder, "file inside": folder / "clock"}.get(planted, folder / "live"), NOBODY, NOBODY)
    if planted == "nothing":
        make_folder(folder, private=True)
        assert folder.stat().st_mode & 0o777 == 0o700
    else:
        with pytest.raises(WrongUse) as told:
            make_folder(folder, private=True)
        assert str(folder) in told.value.sentence()
    assert list(elsewhere.iterdir()) == []


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder on a tmpfs that stands for /dev/shm."""
    if not in_memory(SHARED_MEMORY):
        pytest.skip("/dev/shm is no tmpfs here")
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        yield Path(folder)


def test_a_users_own_tmpfs_is_preferred_to_the_shared_one(shared: Path) -> None:
    user, config = os.geteuid(), Path("/srv/ada/recorder.toml")
    places = (shared / "user", shared)
    found = memory_folder(config, user, places)
    assert found is not None and found.parent == shared and found.name.startswith(f"recorder-{user}-")
    assert memory_folder(Path("/srv/ada/other.toml"), user, places) not in (found, None)
    (shared / "user" / str(user)).mkdir(parents=True)
    own = memory_folder(config, user, places)
    assert own is not None and own.parent == shared / "user" / str(user)


def test_a_place_on_disk_or_taken_by_another_is_not_used(shared: Path, tmp_path: Path) -> None:
    user, config = os.geteuid(), Path("/srv/ada/recorder.toml")
    if not in_memory(tmp_path):
        assert memory_folder(config, user, (tmp_path, tmp_path)) is None
    free = memory_folder(config, user, (tmp_path, shared))
    assert free is not None
    free.symlink_to(tmp_path)
    other = memory_folder(config, user, (tmp_path, shared))
    assert other is not None and other.parent == shared and other.name.startswith(f"{free.name}-")
    assert memory_folder(config, user, (tmp_path, shared)) not in (free, other, None)
    free.unlink()
    if user == 0:
        free.mkdir()
        os.chown(free, 12345, 12345)
        assert memory_folder(config, user, (tmp_path, shared)) not in (free, None)


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("Filename\tType\tSize\tUsed\tPriority\n", []),
        ("Filename Type Size\n/dev/zram0 partition 1 0 100\n", []),
        ("Filename Type Size\n/dev/sda2 partition 1 0 -2\n/dev/zram0 partition 1 0 100\n", ["/dev/sda2"]),
        ("Filename Type Size\n/swap.img file 1 0 -2\n", ["/swap.img"]),
        ("", []),
    ],
)
def test_swap_is_what_may_bring_memory_to_a_disk(table: str, found: list[str]) -> None:
    assert swaps(table) == found


def test_a_unit_that_may_not_swap_is_not_warned(tmp_path: Path) -> None:
    """As the shipped one: MemorySwapMax=0, on the unit or on a slice above it."""
    table, group, groups = tmp_path / "swaps", tmp_path / "own", tmp_path / "groups"
    unit = groups / "system.slice/recorder.service"
    unit.mkdir(parents=True)
    table.write_text("Filename Type Size\n/dev/sda2 partition 1 0 -2\n")
    group.write_text("0::/system.slice/recorder.service\n")
    assert swapping(table, group, groups)
    for place in (unit, unit.parent):
        (place / "memory.swap.max").write_text("max\n")
        assert swapping(table, group, groups)
        (place / "memory.swap.max").write_text("0\n")
        assert not swapping(table, group, groups)
        (place / "memory.swap.max").unlink()
    assert not swapping(tmp_path / "nothing", group, groups)
