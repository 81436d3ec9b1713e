"""Shell: what the receive region of a worker (media.receive.recvmmsg) says of itself, also to who cannot drain: its
last batch and who holds it.
"""

import fcntl
import os
import struct
from dataclasses import dataclass

MAGIC = b"RAW1"
#: RTP sockets of two streams and their RTCP ones; calls with more take several rounds.
LANES = 4
JOURNAL = struct.Struct(f"=4sBxxxQ36s{LANES}s")
#: Where its process id stands for versions before this one. We ask the kernel instead (`holder`): a worker that was
#: broken into could name any process there.
PID = struct.Struct("=I")
PID_AT = 64
#: struct flock of fcntl(2) on 64-bit machines: type, whence, start, length, process id.
LOCK = struct.Struct("@hhqqi4x")
#: Where the room begins that a worker holds for its successor's region, which has to lie beside this one where nothing
#: is free: whoever finds the worker dead cuts it off.
SPARE_AT = 1 << 20
#: Bit of a lane's stream: it is that of RTCP.
RTCP = 0x80


@dataclass(frozen=True)
class Journal:
    """What a region says about its last batch."""

    call: str
    # the commit this batch belongs to
    generation: int
    # (stream, is RTCP) of each lane in use
    lanes: tuple[tuple[int, bool], ...]


def hold(fd: int) -> None:
    """Hold a new region until the process is gone for certain: whoever can lock it is the only one left to drain.

    flock(2) tells that somebody holds it, a record lock who that is.
    """
    fcntl.flock(fd, fcntl.LOCK_EX)
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def holder(path: str) -> int | None:
    """Give the process id of the worker that may still drain into this region; None if it is gone for certain.

    0: somebody holds it, and the kernel does not tell who.
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
    """Read whose batch a region holds; None if nobody's."""
    with open(path, "rb") as file:
        return journal_in(file.read(JOURNAL.size))


def journal_in(data: bytes) -> Journal | None:
    """Read the journal that a region begins with; None if there is none."""
    if len(data) < JOURNAL.size:
        return None
    magic, count, generation, call, streams = JOURNAL.unpack_from(data)
    if magic != MAGIC or count > LANES:
        return None
    lanes = tuple((each & ~RTCP, bool(each & RTCP)) for each in streams[:count])
    return Journal(call.rstrip(b"\0").decode("ascii", "replace"), generation, lanes)
