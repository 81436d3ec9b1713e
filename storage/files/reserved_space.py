"""Free space of a file system, and space reserved in advance, so that erasing works on a full disk.

Blocks are reserved beyond the end of a file without changing its size (fallocate with FALLOC_FL_KEEP_SIZE). The cut log
reserves space for its next lines in this way. The database cannot, because SQLite truncates its files at every
checkpoint, so a node keeps an empty file with reserved blocks. It releases them when an erasure meets a full disk, and
reserves them again when there is space. If a file system cannot reserve blocks, erasing on a full disk is not
guaranteed; nothing else changes.
"""

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

FILE_NAME = ".room"
# The write-ahead log may grow to 4 MB before SQLite moves it into the database, which may grow by as much. Then one
# erasure writes its request, the removal of rows with about thirty tokens each, and its receipt.
RESERVED = 16 << 20
LEAST_SHARE = 16  # on a file system that is too small for this, a sixteenth is reserved
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE


def reserve(fd: int, offset: int, length: int) -> bool:
    """Reserve `length` bytes from `offset` on; return False if the file system cannot."""
    call = ctypes.CDLL(None, use_errno=True).fallocate
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return bool(call(fd, _KEEP_SIZE, offset, length) == 0)


@dataclass(frozen=True, slots=True)
class Space:
    """Size and use of a file system, as a process without privileges sees them."""

    free: int
    """Free bytes."""
    whole: int
    """Total bytes."""
    free_files: int
    """Files that can still be created."""
    files: int
    """Maximum number of files, 0 if there is no limit."""

    @classmethod
    def of(cls, folder: Path) -> "Space":
        """Query the file system of a folder; raises OSError."""
        found = os.statvfs(folder)
        return cls(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, found.f_favail, found.f_files)

    def is_short(self, least: int, share: int) -> bool:
        """Return whether fewer than `least` bytes are free, or less than 1/`share` of a small file system."""
        return self.free < min(least, self.whole // share)

    def is_short_of_files(self, least: int, share: int) -> bool:
        """Return whether fewer than `least` files can be created, or less than 1/`share` on a small file system."""
        return self.files != 0 and self.free_files < min(least, self.files // share)


class ReservedSpace:
    """Reserved space of a node, which is released when an erasure needs it."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE_NAME

    def keep(self) -> bool:
        """Reserve the space, or half of the free space if that is less; return False if nothing is reserved."""
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
        """Release the space; return False if none was reserved."""
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
