"""Own disk space ahead of need, so that erasing works when none is left.

Blocks are reserved behind the end of a file without changing its size (fallocate with FALLOC_FL_KEEP_SIZE); what is
appended later goes into them. Where a file system cannot do that nothing is lost but the promise.
"""

import ctypes
import os
from pathlib import Path

# One erasure writes its request, the removal of a row with some thirty tokens, and its receipt: about 150 pages of
# 4 KiB at most. Ten of them, and a file system too small for that gives a fiftieth.
WRITE_AHEAD = 6 << 20
LEAST_SHARE = 50
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE


def keep_room(fd: int, offset: int, length: int) -> bool:
    """Reserve `length` bytes from `offset` on; return False if that is not possible."""
    call = ctypes.CDLL(None, use_errno=True).fallocate
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return bool(call(fd, _KEEP_SIZE, offset, length) == 0)


def keep_database_room(database: Path) -> bool:
    """Reserve space for the write-ahead log of a SQLite database; emptying the log gives its space away.

    The database itself is not opened here: closing it would drop the locks that SQLite holds on it in this process.
    Its pages find room in those that the erasure frees, or in the space of the files that it unlinked.
    """
    log = database.with_name(database.name + "-wal")
    try:
        status = os.statvfs(log)
        fd = os.open(log, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return keep_room(fd, 0, min(WRITE_AHEAD, status.f_blocks * status.f_frsize // LEAST_SHARE))
    finally:
        os.close(fd)
