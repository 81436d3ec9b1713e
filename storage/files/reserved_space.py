"""Free space of a file system, and space that is owned ahead of need, so that erasing works when none is left.

Blocks are reserved behind the end of a file without changing its size (fallocate with FALLOC_FL_KEEP_SIZE). The ledger
owns its next lines like that; the database cannot (SQLite cuts its files at every checkpoint), so a node owns an empty
file with some blocks, which is given up when an erasure meets a full disk and made again when there is space. Where a
file system cannot do that nothing is lost but the promise.
"""

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

FILE_NAME = ".room"
# The write-ahead log may have grown to 4 MB before SQLite brings it into the database, which may grow by as much; then
# one erasure writes its request, the removal of rows with some thirty tokens each, and its receipt.
RESERVED = 16 << 20
LEAST_SHARE = 16  # a file system too small for that gives a sixteenth
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE


def reserve(fd: int, offset: int, length: int) -> bool:
    """Reserve `length` bytes from `offset` on; return False if that is not possible."""
    call = ctypes.CDLL(None, use_errno=True).fallocate
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return bool(call(fd, _KEEP_SIZE, offset, length) == 0)


@dataclass(frozen=True, slots=True)
class Space:
    """What a file system has, for a process without privileges."""

    free: int
    """Free bytes."""
    whole: int
    """All bytes."""
    free_files: int
    """Files that can be made still."""
    files: int
    """All files it can have, 0 where it sets no limit."""

    @classmethod
    def of(cls, folder: Path) -> "Space":
        """Ask the file system of a folder; raises OSError."""
        found = os.statvfs(folder)
        return cls(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, found.f_favail, found.f_files)

    def is_short(self, least: int, share: int) -> bool:
        """Say whether less than `least` bytes are free; a small file system is short at one part in `share`."""
        return self.free < min(least, self.whole // share)

    def is_short_of_files(self, least: int, share: int) -> bool:
        """Say whether fewer than `least` files can be made, or one part in `share` of a small file system."""
        return self.files != 0 and self.free_files < min(least, self.files // share)


class ReservedSpace:
    """Space of a node that is given up when an erasure needs it."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE_NAME

    def keep(self) -> bool:
        """Own the space, or half of what is left if there is less; return False if nothing is owned afterwards."""
        try:
            space, owned = Space.of(self._path.parent), self._owned()
            size = min(RESERVED, space.whole // LEAST_SHARE, owned + space.free // 2)
            if owned >= size:
                return owned > 0
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            return reserve(fd, 0, size)
        finally:
            os.close(fd)

    def release(self) -> bool:
        """Give the space up; return False if none was owned."""
        try:
            owned = self._owned() > 0
            self._path.unlink()
        except OSError:
            return False
        return owned

    def _owned(self) -> int:
        try:
            return os.stat(self._path).st_blocks * 512
        except FileNotFoundError:
            return 0
