"""Small files are replaced and overwritten so that a power cut leaves the old or the new content."""

import errno
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from storage.errors import DiskFailed, NoSpace
from storage.files.durable_files import Disk, alone, disk_errors, make_apart, write_all


class Recorded(Disk):
    """Write down the single steps in order."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def write(self, fd: int, data: bytes, offset: int) -> None:
        self.steps.append("write")
        super().write(fd, data, offset)

    def sync(self, fd: int) -> None:
        self.steps.append(f"sync {Path(os.readlink(f'/proc/self/fd/{fd}')).name}")
        super().sync(fd)

    def rename(self, old: Path, new: Path) -> None:
        self.steps.append("rename")
        super().rename(old, new)

    def unlink(self, path: Path) -> None:
        self.steps.append("unlink")
        super().unlink(path)


def test_a_replaced_file_is_synced_before_and_after_the_rename(tmp_path: Path) -> None:
    disk, path = Recorded(), tmp_path / "file"
    path.write_bytes(b"old and longer")
    path.chmod(0o604)
    disk.replace(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert disk.steps == ["write", "sync .file.part", "rename", f"sync {tmp_path.name}"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_an_overwritten_file_keeps_its_inode(tmp_path: Path) -> None:
    disk, path = Recorded(), tmp_path / "file"
    disk.reserve(path, 4096)
    before = path.stat()
    times = [before.st_mtime_ns]
    for number in range(50):
        disk.overwrite(path, b"%d" % number)
        times.append(path.stat().st_mtime_ns)
    assert times == sorted(set(times))
    assert path.stat().st_ino == before.st_ino
    assert path.read_bytes() == b"49" + bytes(4094)
    assert disk.steps[-2:] == ["write", "sync file"]


def test_a_clock_set_back_does_not_hide_a_write(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    os.utime(path, (4_000_000_000, 4_000_000_000))
    before = path.stat().st_mtime_ns
    Disk().overwrite(path, b"y")
    assert path.stat().st_mtime_ns > before


def test_files_and_folders_are_made_private_and_synced(tmp_path: Path) -> None:
    disk, folder = Recorded(), tmp_path / "a" / "b"
    for _ in range(2):
        disk.make_folder(folder)
    disk.reserve(folder / "file", 100_000)
    disk.reserve(folder / "file", 10)
    status = (folder / "file").stat()
    assert (folder.stat().st_mode & 0o777, status.st_mode & 0o777, status.st_size) == (0o700, 0o600, 100_000)
    assert status.st_blocks * 512 >= 100_000
    assert disk.remove(folder / "file") and not disk.remove(folder / "file")
    assert disk.steps == [f"sync {tmp_path.name}", "sync a", "sync file", "sync b", "unlink", "sync b", "unlink"]
    assert disk.read(folder / "file") is None
    with pytest.raises(DiskFailed):
        disk.read(folder)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_has_its_own_error(code: int) -> None:
    with pytest.raises(NoSpace) as caught, disk_errors("write"):
        raise OSError(code, "a path that must not be shown")
    assert "path" not in str(caught.value)
    assert caught.value.hint


def test_other_failures_carry_the_name_of_the_error_only() -> None:
    with pytest.raises(DiskFailed, match="could not write: EIO"), disk_errors("write"):
        raise OSError(errno.EIO, "text", "/a/path")
    with pytest.raises(DiskFailed, match="unknown error"), disk_errors("write"):
        raise OSError("no number")


def test_a_full_device_is_reported(tmp_path: Path) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(NoSpace):
        Disk().overwrite(tmp_path / "full", b"data")


def test_writing_goes_on_until_all_is_written(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    write_all(fd, b"abc" * 100_000, 7)
    assert os.fstat(fd).st_size == 300_007
    os.close(fd)


def test_a_folder_apart_is_made_once_and_used_by_all(tmp_path: Path) -> None:
    folder = tmp_path / "vault" / "open"
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / ".open-0123").mkdir()
    with ThreadPoolExecutor(8) as many:
        for _ in many.map(lambda _: make_apart(folder), range(16)):
            assert folder.is_dir()
    (folder / "a").touch()
    make_apart(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["open"]
    assert [path.name for path in folder.iterdir()] == ["a"]
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_second_locker_waits_for_the_first(tmp_path):
    lock, order = tmp_path / ".lock", []

    def second():
        with alone(lock, "try"):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with alone(lock, "try"):
            other = pool.submit(second)
            wait([other], 0.1)
            order.append("first")
        other.result(60)
    assert order == ["first", "second"]


def test_a_lock_that_cannot_be_made_says_what_was_to_be_done(tmp_path):
    nowhere = tmp_path / "none" / ".lock"
    with pytest.raises(DiskFailed, match="change the tokens"), alone(nowhere, "change the tokens"):
        pytest.fail("nobody is let in without the lock")


def test_a_replaced_file_keeps_its_owner_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)
    wanted = (os.geteuid(), os.getegid())
    if os.geteuid() == 0:
        wanted = (65_534, 65_533)
        os.chown(path, *wanted)
    Disk().replace(path, b"new")
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (*wanted, 0o640)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be the wrong user")
def test_what_root_makes_belongs_to_the_owner_of_its_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 65_534, 65_533)
    Disk().replace(tmp_path / "new", b"new")
    status = (tmp_path / "new").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (65_534, 65_533, 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_that_may_not_be_read_is_named_with_its_owner() -> None:
    with tempfile.TemporaryDirectory() as place:  # a folder of pytest's nobody else can look into
        os.chmod(place, 0o755)  # noqa: S103 - the user who is refused has to get there
        folder = Path(place, "closed")
        folder.mkdir(mode=0o700)
        (folder / "file").write_bytes(b"")
        os.seteuid(65_534)
        try:
            with pytest.raises(DiskFailed) as failed:
                Disk().read(folder / "file")
        finally:
            os.seteuid(0)
        said = f"{folder}/file lies in {folder}, and {folder} belongs to root, mode 0700; this is user nobody"
        assert said in str(failed.value)
