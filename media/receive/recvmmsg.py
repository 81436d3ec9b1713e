"""Shell: empty sockets with recvmmsg into memory that outlives this process.

The region is a mapped file on tmpfs:

    0      journal: magic, generation, lanes in use, call id, stream of each lane (bit 7: RTCP)
    64     process id of the worker
    4096   LANES × media.receive.batch.LANE

Before a round the lanes are reset (every slot UNUSED), then the journal names the call and the generation of its next
commit, then the sockets are emptied. Whenever the process is killed: a successor that finds generation g in the call's
spool and g + 1 here must replay these packets; otherwise they are committed, or there are none.
"""

import contextlib
import ctypes
import errno
import mmap
import os
from collections.abc import Sequence

from media.errors import Damaged
from media.receive.batch import (  # fmt: skip
    CONTROL,
    CONTROL_AT,
    FAR,
    FAR_AT,
    HEADERS_AT,
    LANE,
    MMSGHDR,
    NAME,
    NAMES_AT,
    NEAR,
    NEAR_AT,
    SLOTS,
    UNUSED,
    BatchBuffer,
    Lane,
)
from media.receive.receive_region import JOURNAL, LANES, MAGIC, PID, PID_AT, SPARE_AT, hold, journal_in

PAGE = 4096
SIZE = PAGE + LANES * LANE
MSG_DONTWAIT = 0x40
#: As long as the longest part of a lane.
_NOTHING = memoryview(bytes(SLOTS * FAR))


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("iov", ctypes.c_void_p),
        ("iov_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("pad", ctypes.c_uint),  # the end of struct msghdr; the number of received bytes, from recvmmsg(2), follows it
        ("length", ctypes.c_uint),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)


class Region:
    """The receive region of one worker; raise MemoryError if its tmpfs has no space for it."""

    def __init__(self, path: str) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        hold(fd)
        self._fd = fd
        try:  # now: populating fails silently, and recvmmsg drops packets for which it has no page (EFAULT)
            os.posix_fallocate(fd, 0, SIZE)
        except OSError as problem:
            os.close(fd)
            raise MemoryError(f"no room for a receive region (errno {problem.errno})") from None
        with contextlib.suppress(OSError):
            os.posix_fallocate(fd, SPARE_AT, SIZE)
        # populated: a page fault inside recvmmsg is the only point where a kill could lose a packet
        self._map = mmap.mmap(fd, SIZE, mmap.MAP_SHARED | mmap.MAP_POPULATE)
        PID.pack_into(self._map, PID_AT, os.getpid())
        self._memory = memoryview(self._map)
        self.buffer = BatchBuffer()
        self.lanes = [Lane(_lane(self._memory, i), self.buffer) for i in range(LANES)]
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        #: Slots of each lane that may hold something since `forget`.
        self._used = [1] * LANES
        self._iovecs: list[ctypes.Array[_Iovec]] = []
        self._headers: list[int] = []
        #: Fresh headers of each lane, without and with space for the sender's name.
        self._templates: list[tuple[bytes, bytes]] = []
        for i in range(LANES):
            at = base + PAGE + i * LANE
            self._iovecs.append(_iovecs(at))
            self._headers.append(at + HEADERS_AT)
            self._templates.append((_template(at, self._iovecs[i], False), _template(at, self._iovecs[i], True)))

    def begin(self, call: bytes, generation: int, streams: Sequence[int], named: Sequence[bool]) -> None:
        """Start a round: reset a lane per stream (RTCP: bit 7 set; `named`: senders wanted), write the journal."""
        for i, want in enumerate(named):
            self.lanes[i].headers[:] = self._templates[i][want]
        JOURNAL.pack_into(self._map, 0, MAGIC, len(streams), generation, call, bytes(streams))

    def receive(self, lane: int, descriptor: int) -> int:
        """Receive up to SLOTS packets from a socket; return 0 if there are none."""
        count: int = _recvmmsg(descriptor, self._headers[lane], SLOTS, MSG_DONTWAIT, None)
        if count < 0 and ctypes.get_errno() != errno.EAGAIN:
            # an ICMP error caused by something we sent is reported once and thereby cleared (ip(7))
            count = _recvmmsg(descriptor, self._headers[lane], SLOTS, MSG_DONTWAIT, None)
        if count >= self._used[lane]:
            # one more: the kernel copies a datagram before it finds that the checksum is wrong
            self._used[lane] = min(count + 1, SLOTS)
        return max(count, 0)

    def erase(self, lane: int) -> None:
        """Overwrite what a lane received in plain RTP; SRTP is ciphertext, which may wait for the next batch."""
        own = self.lanes[lane]
        count = own.count()
        used = min(count + 1, SLOTS)  # as in `receive`
        own.near[: used * NEAR] = _NOTHING[: used * NEAR]
        if any(length > NEAR for length in own.lengths[:count]):
            own.far[: used * FAR] = _NOTHING[: used * FAR]

    def forget(self) -> None:
        """Overwrite what was received: it is committed or given up, and its call may be erased."""
        self._memory[: JOURNAL.size] = bytes(JOURNAL.size)
        for lane, used in zip(self.lanes, self._used, strict=True):
            lane.headers[:] = _NOTHING[: len(lane.headers)]
            for part, stride in ((lane.names, NAME), (lane.control, CONTROL), (lane.near, NEAR), (lane.far, FAR)):
                part[: used * stride] = _NOTHING[: used * stride]
        self._used = [1] * LANES


class OrphanedRegion:
    """The region of a dead worker, read-only."""

    def __init__(self, path: str | int, buffer: BatchBuffer) -> None:
        """`path`: a path, or a descriptor, which is closed."""
        with open(path, "rb") as file:
            self._data = file.read(SIZE)
        if len(self._data) != SIZE:
            raise Damaged("a receive region has the wrong size")
        self.journal = journal_in(self._data)
        self.lanes = [Lane(_lane(memoryview(self._data), i), buffer) for i in range(LANES)]


def _lane(memory: memoryview, number: int) -> memoryview:
    start = PAGE + number * LANE
    return memory[start : start + LANE]


def _iovecs(at: int) -> "ctypes.Array[_Iovec]":
    iovecs = (_Iovec * (2 * SLOTS))()
    for slot in range(SLOTS):
        iovecs[2 * slot] = _Iovec(at + NEAR_AT + slot * NEAR, NEAR)
        iovecs[2 * slot + 1] = _Iovec(at + FAR_AT + slot * FAR, FAR)
    return iovecs


def _template(at: int, iovecs: "ctypes.Array[_Iovec]", named: bool) -> bytes:
    messages = (_Message * SLOTS)()
    if ctypes.sizeof(_Message) != MMSGHDR:
        raise Damaged("struct mmsghdr is not 64 bytes here: only 64-bit Linux is supported")
    for slot in range(SLOTS):
        message = messages[slot]
        if named:
            message.name, message.name_length = at + NAMES_AT + slot * NAME, NAME
        message.iov = ctypes.addressof(iovecs) + 2 * slot * ctypes.sizeof(_Iovec)
        message.iov_count = 2
        message.control, message.control_length = at + CONTROL_AT + slot * CONTROL, CONTROL
        message.length = UNUSED
    return bytes(messages)
