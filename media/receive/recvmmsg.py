"""Shell: empty sockets with recvmmsg into memory that outlives this process.

The region is a file on tmpfs, mapped:

    0      journal: magic, generation, lanes in use, call id, stream of each lane (bit 7: RTCP)
    64     process id of the worker
    4096   LANES × media.receive.batch.LANE

Before a round the lanes are reset (every slot UNUSED), then the journal names the call and the generation its commit
will have, then the sockets are emptied. Whatever is killed when: a successor that finds generation g in the call's
spool
and g + 1 here has to replay these packets; otherwise they are committed, or there are none.
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
        ("pad", ctypes.c_uint),  # the end of struct msghdr; what recvmmsg(2) received stands behind it
        ("length", ctypes.c_uint),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)


class Region:
    """The receive region of one worker; MemoryError where its file system, a tmpfs, has no room for it."""

    def __init__(self, path: str) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        hold(fd)
        self._fd = fd
        try:  # now, not later: to populate fails in silence, and recvmmsg drops what it has no page for (EFAULT)
            os.posix_fallocate(fd, 0, SIZE)
        except OSError as problem:
            os.close(fd)
            raise MemoryError(f"no room for a receive region (errno {problem.errno})") from None
        with contextlib.suppress(OSError):
            os.posix_fallocate(fd, SPARE_AT, SIZE)
        # populated: a page fault inside recvmmsg is the one place where a kill could lose a packet
        self._map = mmap.mmap(fd, SIZE, mmap.MAP_SHARED | mmap.MAP_POPULATE)
        PID.pack_into(self._map, PID_AT, os.getpid())
        self._memory = memoryview(self._map)
        self.workbench = BatchBuffer()
        self.lanes = [Lane(_lane(self._memory, i), self.workbench) for i in range(LANES)]
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        #: Slots of each lane that may hold something since `forget`.
        self._used = [1] * LANES
        self._iovecs: list[ctypes.Array[_Iovec]] = []
        self._headers: list[int] = []
        #: Fresh headers of each lane, without and with room for the sender's name.
        self._templates: list[tuple[bytes, bytes]] = []
        for i in range(LANES):
            at = base + PAGE + i * LANE
            self._iovecs.append(_iovecs(at))
            self._headers.append(at + HEADERS_AT)
            self._templates.append((_template(at, self._iovecs[i], False), _template(at, self._iovecs[i], True)))

    def begin(self, call: bytes, generation: int, streams: Sequence[int], named: Sequence[bool]) -> None:
        """Open a round: reset one lane a stream (RTCP: bit 7 set; `named`: senders wanted), then write the journal."""
        for i, want in enumerate(named):
            self.lanes[i].headers[:] = self._templates[i][want]
        JOURNAL.pack_into(self._map, 0, MAGIC, len(streams), generation, call, bytes(streams))

    def receive(self, lane: int, descriptor: int) -> int:
        """Take up to SLOTS packets from a socket; 0 if there are none."""
        count: int = _recvmmsg(descriptor, self._headers[lane], SLOTS, MSG_DONTWAIT, None)
        if count < 0 and ctypes.get_errno() != errno.EAGAIN:
            # an ICMP error of something we sent is reported once and cleared by that (ip(7))
            count = _recvmmsg(descriptor, self._headers[lane], SLOTS, MSG_DONTWAIT, None)
        if count >= self._used[lane]:
            # one more: the kernel copies a datagram before it finds its checksum wrong
            self._used[lane] = min(count + 1, SLOTS)
        return max(count, 0)

    def erase(self, lane: int) -> None:
        """Overwrite what a lane received in the clear; under SRTP it is ciphertext that may wait for the next batch."""
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
    """The region of a dead worker, read only."""

    def __init__(self, path: str | int, workbench: BatchBuffer) -> None:
        """`path`: or a descriptor, which is closed."""
        with open(path, "rb") as file:
            self._data = file.read(SIZE)
        if len(self._data) != SIZE:
            raise Damaged("a receive region has the wrong size")
        self.journal = journal_in(self._data)
        self.lanes = [Lane(_lane(memoryview(self._data), i), workbench) for i in range(LANES)]


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
