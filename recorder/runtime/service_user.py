"""The user as whom the service runs: the owner of data_dir. So commands that root runs leave no files of root there."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def owner_of(folder: Path) -> tuple[int, int] | None:
    """Return user and group of a folder's owner if this is root and the folder is not root's."""
    if os.geteuid() != 0 or not folder.is_dir() or (owner := folder.stat()).st_uid == 0:
        return None
    try:
        return owner.st_uid, pwd.getpwuid(owner.st_uid).pw_gid
    except KeyError:  # a user without a name, as in a container
        return owner.st_uid, owner.st_gid


def become_owner(folder: Path) -> bool:
    """Take on the rights of a folder's owner if this is root and the folder is not root's; return whether it did."""
    owner = owner_of(folder)
    if owner is None:
        return False
    os.setgroups(_groups(*owner))
    os.setgid(owner[1])
    os.setuid(owner[0])
    return True


@contextmanager
def acting_as_owner(folder: Path) -> Iterator[None]:
    """Take on the rights of a folder's owner for a while, in all threads, if root runs this and does not own it."""
    owner = owner_of(folder)
    if owner is None:
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    os.setgroups(_groups(*owner))
    os.setegid(owner[1])
    os.seteuid(owner[0])
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def _groups(user: int, group: int) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(user).pw_name, group)
    except KeyError:
        return []
