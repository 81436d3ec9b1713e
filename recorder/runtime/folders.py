"""Test whether a folder of ours can be written to, and whether its contents reach a disk."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
from pathlib import Path

from recorder.errors import NotPossible, WrongUse

PROBE = ".probe"
PROBE_BYTES = 4096
"""One block: on a full disk an empty file can still be made."""

PRIVATE, OTHERS_WRITE = 0o700, 0o022
"""Modes of a folder: the owner's permissions, and write permission of others."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors that do not stop the start for data_dir: live calls continue, new ones get a clear refusal, and erasing needs
no space."""


SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a tmpfs on every Linux; folders made there are private
USERS = Path("/run/user")
"""Folders of signed-in users, each a tmpfs of its own (pam_systemd)."""
SWAPS, OWN_GROUP, GROUPS = Path("/proc/swaps"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
SWAP_HINT = "Swap is on: keys and audio of live calls may be written to it. Turn it off, or use the shipped unit."
"""The unit has MemorySwapMax=0."""
MEMORY_FILE_SYSTEMS = (0x01021994, 0x858458F6)
"""TMPFS_MAGIC and RAMFS_MAGIC of statfs(2)."""
_WORDS = 64  # longs; struct statfs has 15 on 64-bit machines


def in_memory(folder: Path) -> bool:
    """Return whether a folder is on a file system without a disk; for a missing folder, where it would be made."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    found = (ctypes.c_long * _WORDS)()
    if ctypes.CDLL(None, use_errno=True).statfs(str(there).encode(), found) != 0:
        return False
    return found[0] & 0xFFFF_FFFF in MEMORY_FILE_SYSTEMS


def is_ours(folder: Path) -> bool:
    """Return whether a folder is not a link and, if it exists, belongs to this process's user."""
    try:
        found = os.lstat(folder)
    except OSError:
        return True
    return os.path.isdir(folder) and not os.path.islink(folder) and found.st_uid == os.geteuid()


def user_name(user: int) -> str:
    """Return the name of a user, its number if it has none."""
    import pwd  # only messages need it

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def memory_folder(config: Path, user: int, places: tuple[Path, Path] = (USERS, SHARED_MEMORY)) -> Path | None:
    """Choose a runtime directory on a tmpfs for a user without one in /run, one for each configuration; None: no tmpfs.

    `places`: where users have their own folders, and where everybody may make some. If somebody else already
    took the name there, another one is tried, never a folder on a disk.
    """
    name = hashlib.sha256(str(config).encode()).hexdigest()[:12]
    users, shared = places
    own = users / str(user)
    folders = [own / f"recorder-{name}"] if own.is_dir() and is_ours(own) else []
    folders += [shared / f"recorder-{user}-{each}" for each in (name, f"{name}-{os.urandom(8).hex()}")]
    usable = (each for each in folders if is_ours(each) and in_memory(each) and os.access(each.parent, os.W_OK))
    return next(usable, None)


def swaps(table: str) -> list[str]:
    """Return what the kernel swaps to, from /proc/swaps; compressed memory (zram) is not a disk."""
    names = [line.split()[0] for line in table.splitlines()[1:] if line.split()]
    return [name for name in names if not name.startswith("/dev/zram")]


def swapping(table: Path = SWAPS, group: Path = OWN_GROUP, groups: Path = GROUPS) -> bool:
    """Return whether memory of this process may be written to a disk; False if the system does not say."""
    try:
        if not swaps(table.read_text()):
            return False
        own = next((line[3:] for line in group.read_text().splitlines() if line.startswith("0::/")), "/")
    except OSError:
        return False
    place = groups / own.strip("/")
    limits = [each / "memory.swap.max" for each in (place, *place.parents) if each.is_relative_to(groups)]
    return not any(limit.is_file() and limit.read_text().strip() == "0" for limit in limits)


def probe(folder: Path) -> None:
    """Write, sync and remove a small file; raises OSError."""
    path = folder / PROBE
    try:
        with path.open("wb") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)


def probe_unseen(folder: Path) -> None:
    """Write a small file that never has a name, so that nothing in the folder changes; raises OSError."""
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder)) from None
        return  # the file system has no files without names
    try:
        os.pwrite(fd, bytes(PROBE_BYTES), 0)
    finally:
        os.close(fd)


def keep_private(folder: Path, *, change: bool = True) -> None:
    """Remove others' write permission on a folder; WrongUse unless it and its contents belong to this process's user.

    For folders in places where everybody may make some; call it after making the folder, because somebody else may have
    been quicker. The owner of a folder can put links into it, and a daemon that runs as root would write through them
    to any file. Without `change` it is only checked, and others may still write to it.
    """
    hint = "Empty it and make the recorder's user its owner, or set another [node] runtime_dir."
    if not is_ours(folder):
        raise WrongUse(f"{folder} belongs to another user or is a link.", hint)
    if change and stat.S_IMODE(os.stat(folder).st_mode) & OTHERS_WRITE:
        os.chmod(folder, PRIVATE)
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_symlink() or entry.stat(follow_symlinks=False).st_uid != os.geteuid():
                raise WrongUse(f"Not everything in {folder} belongs to the recorder's user.", hint)


def make_folder(folder: Path, *, full: bool = False, private: bool = False, change: bool = True) -> None:
    """Make a folder of ours if it is missing; raises WrongUse or NotPossible with a clear sentence if it is unusable.

    `full`: a full disk is accepted. `private`: nobody else may write to it (`keep_private`). Without `change` it is
    only checked; for a missing folder, the one in which it would be made.
    """
    try:
        if change:
            folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        elif not folder.exists():
            probe_unseen(next(place for place in folder.parents if place.exists()))
            return
        if private:
            keep_private(folder, change=change)
        (probe if change else probe_unseen)(folder)
    except OSError as error:
        if full and error.errno in FULL and folder.is_dir():
            return
        reason = os.strerror(error.errno or 0)
        raise NotPossible(
            f"{folder} cannot be written: {reason}.", "Make the recorder's user its owner, or free some space there."
        ) from None
