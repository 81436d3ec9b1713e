"""Durable writing of small files, which survive a power cut; no other module calls fsync for small files.

Every method returns when its effect is durable, and raises NoSpace or DiskFailed if it is not. Tests replace the four
single steps (`write`, `sync`, `rename`, `unlink`) to stop at each of them.
"""

import errno
import fcntl
import os
import pwd
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.errors import DiskFailed, NoSpace

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_GET_FLAGS, _SET_FLAGS, _TOPDIR = 0x80086601, 0x40086602, 0x00020000  # ioctl_iflags(2), on 64-bit machines
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED = frozenset({errno.EACCES, errno.EPERM})


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Raise NoSpace or DiskFailed for an OSError; `what` completes "could not …" and contains no personal data."""
    try:
        yield
    except OSError as error:
        reason = errno.errorcode.get(error.errno or 0, "unknown error")
        if error.errno in _FULL:
            raise NoSpace(f"could not {what}: the disk is full", "free some space on the data disk") from error
        if error.errno in _DENIED and error.filename:
            raise DiskFailed(
                f"could not {what}: {denied(Path(error.filename))}", "run the command as its owner"
            ) from error
        raise DiskFailed(f"could not {what}: {reason}", "check the kernel log and the disk") from error


def denied(path: Path) -> str:
    """Return who owns a file that this user may not use, or who owns its nearest folder that this user can examine."""
    for place in (path, *path.parents):
        try:
            found = os.stat(place)
        except OSError:
            continue
        inside = "" if place == path else f"{path} lies in {place}, and "
        owner = f"{_user(found.st_uid)}, mode {found.st_mode & 0o7777:04o}"
        return f"{inside}{place} belongs to {owner}; this is user {_user(os.geteuid())}"
    return f"{path} cannot be used by user {_user(os.geteuid())}"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


class Disk:
    """The file operations of this package."""

    def read(self, path: Path) -> bytes | None:
        """Return the whole file, None if there is none."""
        try:
            with disk_errors("read a file of the data directory"):
                return path.read_bytes()
        except DiskFailed as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def replace(self, path: Path, data: bytes) -> None:
        """Replace the file by `data`; at every moment it has the old or the new content. Owner and mode stay.

        One writer at a time; the next call overwrites a `.NAME.part` that a crash left.
        """
        draft = path.with_name(f".{path.name}.part")
        with disk_errors("replace a file of the data directory"):
            with opened(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
                _keep_owner(fd, path)
                self.write(fd, data, 0)
                self.sync(fd)
            self.rename(draft, path)
            self.sync_folder(path.parent)

    def overwrite(self, path: Path, data: bytes) -> None:
        """Overwrite the beginning of a file in place; its modification time always grows."""
        with disk_errors("overwrite a file of the data directory"), opened(path, os.O_WRONLY) as fd:
            before = os.fstat(fd).st_mtime_ns
            self.write(fd, data, 0)
            self.sync(fd)
            _grow_time(fd, before)

    def settle(self, path: Path) -> None:
        """Make everything written to this file durable, including the writes of other processes."""
        with disk_errors("write back a file of the data directory"), opened(path, os.O_WRONLY) as fd:
            self.sync(fd)

    def reserve(self, path: Path, size: int) -> None:
        """Create the file if needed and allocate `size` bytes, so that writing into it needs no free space."""
        with disk_errors("reserve space in the data directory"), opened(path, os.O_WRONLY | os.O_CREAT) as fd:
            if os.fstat(fd).st_size < size:
                os.posix_fallocate(fd, 0, size)
                self.sync(fd)
                self.sync_folder(path.parent)

    def remove(self, path: Path) -> bool:
        """Remove a file durably; return False if it did not exist."""
        with disk_errors("remove a file of the data directory"):
            try:
                self.unlink(path)
            except FileNotFoundError:
                return False
            self.sync_folder(path.parent)
            return True

    def make_folder(self, path: Path) -> None:
        """Create a private folder, and missing folders above it."""
        with disk_errors("make a folder of the data directory"):
            if path.is_dir():
                return
            if not path.parent.is_dir():
                self.make_folder(path.parent)
            path.mkdir(PRIVATE_FOLDER, exist_ok=True)
            self.sync_folder(path.parent)

    def sync_folder(self, path: Path) -> None:
        """Make the entries of a folder durable."""
        with disk_errors("write back a folder"), opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
            self.sync(fd)

    # --- the single steps --------------------------------------------------------------------------------------------

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """Write all of `data` at `offset`."""
        write_all(fd, data, offset)

    def sync(self, fd: int) -> None:
        """Make everything written to this file durable."""
        os.fsync(fd)

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file, replacing any file that has the new name."""
        old.rename(new)

    def unlink(self, path: Path) -> None:
        """Unlink a file."""
        path.unlink()


def make_apart(folder: Path) -> None:
    """Create a folder whose files ext4 keeps in a separate region of the disk; other file systems make a plain folder.

    ext4 puts the inode of a new file near the inode of its folder, and checks one by one every inode there that was
    deleted in the last minutes. After thousands of deletions, creating a file takes a millisecond instead of ten
    microseconds. Below a folder with the flag T (chattr(1)), ext4 chooses the region of a new folder by its name, so
    the folder is created under a random name and then renamed. Raises OSError.
    """
    if folder.is_dir():
        return
    folder.parent.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
    with suppress(OSError), opened(folder.parent, os.O_RDONLY | os.O_DIRECTORY) as fd:
        flags = array("l", [0])
        fcntl.ioctl(fd, _GET_FLAGS, flags, True)
        fcntl.ioctl(fd, _SET_FLAGS, array("l", [flags[0] | _TOPDIR]))
    for left in folder.parent.glob(f".{folder.name}-*"):  # left by a crash between the two steps below
        with suppress(OSError):
            left.rmdir()
    draft = folder.with_name(f".{folder.name}-{os.urandom(8).hex()}")
    draft.mkdir(PRIVATE_FOLDER)
    try:
        draft.rename(folder)
    except OSError:  # another process has created it
        with suppress(OSError):
            draft.rmdir()
        folder.mkdir(PRIVATE_FOLDER, exist_ok=True)


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`, in as many calls as the kernel needs."""
    done = os.pwrite(fd, data, offset)
    while done < len(data):
        done += os.pwrite(fd, data[done:], offset + done)


@contextmanager
def alone(lock: Path, what: str) -> Iterator[None]:
    """Hold a lock against other processes; raises NoSpace or DiskFailed, whose message names `what`."""
    with disk_errors(what):
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """Open a private file; raises OSError untranslated."""
    fd = os.open(path, flags | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        yield fd
    finally:
        os.close(fd)


def _keep_owner(fd: int, path: Path) -> None:
    """Give a draft the owner and mode of the file that it replaces; for a new file, root sets the owner only."""
    now, root = os.fstat(fd), os.geteuid() == 0
    try:
        before = os.stat(path)
    except FileNotFoundError:
        if root and (folder := os.stat(path.parent)).st_uid != now.st_uid:
            os.fchown(fd, folder.st_uid, folder.st_gid)
        return
    if root and (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
        os.fchown(fd, before.st_uid, before.st_gid)
    if (before.st_mode ^ now.st_mode) & 0o770:
        os.fchmod(fd, before.st_mode & 0o770)  # no file here is readable by everybody


def _grow_time(fd: int, before: int) -> None:
    """Advance the modification time after two writes in one tick of the kernel's clock, because readers compare it."""
    now = os.fstat(fd)
    if now.st_mtime_ns <= before:
        os.utime(fd, ns=(now.st_atime_ns, before + 1))
