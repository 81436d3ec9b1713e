"""Whether a folder of ours can be written to, found out by doing it, and whether what lies in it reaches a disk."""

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
"""A block: an empty file can be made on a full disk."""

PRIVATE, OTHERS_WRITE = 0o700, 0o022
"""Modes of a folder."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Of the data no reason to stay away: live calls go on, callers get a clear refusal, erasing works without space."""


SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - tmpfs on every Linux; what is made there is private
USERS = Path("/run/user")
"""Folders of the users that are signed in, each a tmpfs of its own (pam_systemd)."""
SWAPS, OWN_GROUP, GROUPS = Path("/proc/swaps"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
SWAP_HINT = "Swap is on: keys and audio of live calls may be written to it. Turn it off, or run the shipped unit."
"""The unit has MemorySwapMax=0."""
MEMORY_FILE_SYSTEMS = (0x01021994, 0x858458F6)
"""TMPFS_MAGIC and RAMFS_MAGIC of statfs(2)."""
_WORDS = 64  # longs; struct statfs has 15 on 64-bit machines


def in_memory(folder: Path) -> bool:
    """Say whether a folder lies on a file system that has no disk; one that is missing, as where it would be made."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    found = (ctypes.c_long * _WORDS)()
    if ctypes.CDLL(None, use_errno=True).statfs(str(there).encode(), found) != 0:
        return False
    return found[0] & 0xFFFF_FFFF in MEMORY_FILE_SYSTEMS


def is_ours(folder: Path) -> bool:
    """Say whether a folder is no link, and of this process's user where it exists."""
    try:
        found = os.lstat(folder)
    except OSError:
        return True
    return os.path.isdir(folder) and not os.path.islink(folder) and found.st_uid == os.geteuid()


def memory_folder(config: Path, user: int, places: tuple[Path, Path] = (USERS, SHARED_MEMORY)) -> Path | None:
    """Choose a runtime directory on a tmpfs for a user without one in /run, a folder each configuration; None: none.

    `places`: where the users have theirs, and where everybody may make some; who took the name there first gets nobody
    to use a disk instead.
    """
    name = hashlib.sha256(str(config).encode()).hexdigest()[:12]
    users, shared = places
    own = users / str(user)
    folders = [own / f"recorder-{name}"] if own.is_dir() and is_ours(own) else []
    folders += [shared / f"recorder-{user}-{each}" for each in (name, f"{name}-{os.urandom(8).hex()}")]
    usable = (each for each in folders if is_ours(each) and in_memory(each) and os.access(each.parent, os.W_OK))
    return next(usable, None)


def swaps(table: str) -> list[str]:
    """Name what the kernel swaps to, of /proc/swaps; compressed memory (zram) is no disk."""
    names = [line.split()[0] for line in table.splitlines()[1:] if line.split()]
    return [name for name in names if not name.startswith("/dev/zram")]


def swapping(table: Path = SWAPS, group: Path = OWN_GROUP, groups: Path = GROUPS) -> bool:
    """Say whether memory of this process may be written to a disk; False where the system does not tell."""
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


def keep_private(folder: Path) -> None:
    """Take write permission for a folder from others; WrongUse unless it and all in it is this process's user's.

    For what lies where everybody may make folders, and after it was made: somebody may have been quicker. Whoever owns
    it can put links there, and a daemon of root would write through them to any file of the machine.
    """
    hint = "Give it to the recorder's user, empty, or name another [node] runtime_dir."
    if not is_ours(folder):
        raise WrongUse(f"{folder} belongs to another user or is a link.", hint)
    if stat.S_IMODE(os.stat(folder).st_mode) & OTHERS_WRITE:
        os.chmod(folder, PRIVATE)
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_symlink() or entry.stat(follow_symlinks=False).st_uid != os.geteuid():
                raise WrongUse(f"What lies in {folder} is not all of the recorder's user.", hint)


def make_folder(folder: Path, *, full: bool = False, private: bool = False) -> None:
    """Make a folder of ours if it is missing; a clear sentence if it cannot be used.

    `full`: it may be full. `private`: nobody else may have a hand in it (`keep_private`).
    """
    try:
        folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        if private:
            keep_private(folder)
        probe(folder)
    except OSError as error:
        if full and error.errno in FULL and folder.is_dir():
            return
        reason = os.strerror(error.errno or 0)
        raise NotPossible(
            f"{folder} cannot be written: {reason}.", "Give it to the recorder's user, or free some space there."
        ) from None
