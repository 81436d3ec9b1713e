"""Shell: the journal at the start of a worker's receive region, and which process holds the region.

The region itself is in media.receive.recvmmsg. Main can read both without receiving.
"""

import fcntl
import os
import struct
from dataclasses import dataclass

MAGIC = b"RAW1"
#: RTP and RTCP sockets of two streams; calls with more take several rounds.
LANES = 4
JOURNAL = struct.Struct(f"=4sBxxxQ36s{LANES}s")
#: Process id for versions before this one. We ask the kernel (`holder`), because an attacker in a worker could write
#: any process id here.
PID = struct.Struct("=I")
PID_AT = 64
#: struct flock of fcntl(2) on 64-bit machines: type, whence, start, length, process id.
LOCK = struct.Struct("@hhqqi4x")
#: Start of the space that a worker reserves for its successor's region, which must fit even if the file system is full:
#: whoever finds the worker dead truncates the file here.
SPARE_AT = 1 << 20
#: Bit in a lane's stream number: RTCP.
RTCP = 0x80


@dataclass(frozen=True)
class Journal:
    """The last batch that a region holds."""

    call: str
    # the commit to which this batch belongs
    generation: int
    # (stream, is RTCP) of each lane in use
    lanes: tuple[tuple[int, bool], ...]


def hold(fd: int) -> None:
    """Lock a new region until the process is certainly gone: only the holder of the lock may receive into it.

    flock(2) shows that the region is locked; a record lock shows which process holds it.
    """
    fcntl.flock(fd, fcntl.LOCK_EX)
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def holder(path: str) -> int | None:
    """Return the process id of the worker that may still receive into this region; None if it is certainly gone.

    Return 0 if the region is locked but the kernel does not say by which process.
    """
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            asked = LOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = LOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))
            return max(0, pid) if kind != fcntl.F_UNLCK else 0
    return None


def journal_of(path: str) -> Journal | None:
    """Read which call's batch a region holds; None if it holds none."""
    with open(path, "rb") as file:
        return journal_in(file.read(JOURNAL.size))


def journal_in(data: bytes) -> Journal | None:
    """Read the journal at the start of a region; None if there is none."""
    if len(data) < JOURNAL.size:
        return None
    magic, count, generation, call, streams = JOURNAL.unpack_from(data)
    if magic != MAGIC or count > LANES:
        return None
    lanes = tuple((each & ~RTCP, bool(each & RTCP)) for each in streams[:count])
    return Journal(call.rstrip(b"\0").decode("ascii", "replace"), generation, lanes)
