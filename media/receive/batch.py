"""What one recvmmsg left in memory: where each part lies, and how to read a whole batch in one C call.

A lane holds one batch of one socket. Its memory is part of a mapped file, so it outlives the process:

    headers   SLOTS × struct mmsghdr (64 bytes): flags at 48, length at 56; UNUSED until the slot is filled
    names     SLOTS × 32 bytes: the sender's sockaddr
    control   SLOTS × 32 bytes: one cmsg, SCM_TIMESTAMPNS with a struct timespec
    near      SLOTS × NEAR bytes: the beginning of each packet
    far       SLOTS × FAR bytes: the rest of longer packets
"""

import struct
from collections.abc import Callable
from operator import sub
from typing import Any

from media.spec import Address, unwrap
from media.srtp.context import ffi

SECOND = 1_000_000_000
#: Packets of one recvmmsg: more than arrive in a tick of 0.5 s with 20 ms or 10 ms packets.
SLOTS = 64
#: 40 ms of G.711 with an AEAD tag and MKI; a stride of few cache lines keeps a batch in the L1 cache.
NEAR = 384
#: Together 2 KiB: more than any MTU except jumbo frames. Longer packets are counted and dropped.
FAR = 2048 - NEAR
MMSGHDR, NAME, CONTROL = 64, 32, 32
LENGTH_AT, FLAGS_AT = 56, 48
#: Bytes of the pointer at the start of a struct msghdr, to the memory for the sender's name.
NAME_POINTER = 8
UNUSED = 0xFFFFFFFF
#: recvmsg(2): the datagram was longer than the slot.
MSG_TRUNC = 0x20

HEADERS_AT = 0
NAMES_AT = HEADERS_AT + SLOTS * MMSGHDR
CONTROL_AT = NAMES_AT + SLOTS * NAME
NEAR_AT = CONTROL_AT + SLOTS * CONTROL
FAR_AT = NEAR_AT + SLOTS * NEAR
#: Bytes of one lane, a multiple of the page size.
LANE = FAR_AT + SLOTS * FAR

Unpack = Callable[..., tuple[Any, ...]]

#: Readers for 0 to SLOTS packets: lengths; ns of arrival within a second; first eight header bytes (signed, because
#: Python counts and compares values that fit a C long three times as fast).
LENGTHS: list[Unpack] = [struct.Struct("=" + "56xI4x" * n).unpack_from for n in range(SLOTS + 1)]
NANOS: list[Unpack] = [struct.Struct("=" + "24xq" * n).unpack_from for n in range(SLOTS + 1)]
HEADS: list[Unpack] = [struct.Struct(">" + f"q{NEAR - 8}x" * n).unpack_from for n in range(SLOTS + 1)]
#: The same header as five numbers: first byte, second, sequence, timestamp, SSRC; by the stride of the memory.
WIDE = NEAR + FAR
FIELDS: dict[int, list[Unpack]] = {
    stride: [struct.Struct(">" + f"BBHII{stride - 12}x" * n).unpack_from for n in range(SLOTS + 1)]
    for stride in (NEAR, WIDE)
}
#: Writers for the arrival deltas of a run.
DELTAS = [struct.Struct(f"!{n}H").pack for n in range(SLOTS + 1)]

_TIME = struct.Struct("=qq").unpack_from
_WORD = struct.Struct("=I").unpack_from
#: Payload readers kept, each about 3 KB: a few codecs times the packet counts that jitter produces.
MAX_READERS = 256
_readers: dict[int, Unpack] = {}


def payloads(count: int, size: int) -> Unpack:
    """Return the reader of `count` payloads from packets of `size` bytes with a plain header."""
    key = count << 16 | size
    reader = _readers.get(key)
    if reader is None:
        if len(_readers) >= MAX_READERS:
            _readers.clear()
        reader = _readers[key] = struct.Struct(f"12x{size - 12}s{NEAR - size}x" * count).unpack_from
    return reader


_sizes: dict[int, bytes] = {}


def sizes(size: int) -> bytes:
    """Return SLOTS times `size` as C ints."""
    found = _sizes.get(size)
    if found is None:
        found = _sizes[size] = size.to_bytes(4, "little") * SLOTS
    return found


class BatchBuffer:
    """Private memory for decryption: libsrtp works in place, and a successor needs the received bytes."""

    def __init__(self, stride: int = NEAR) -> None:
        self._memory = ffi.new("char[]", SLOTS * stride)
        self.stride = stride
        self.near = memoryview(ffi.buffer(self._memory)).cast("B")
        self._lengths = ffi.new("int[]", SLOTS)
        self.lengths = memoryview(ffi.buffer(self._lengths)).cast("B")
        #: One pointer per slot, created once: a cast costs more than the call that decrypts a packet.
        self.packet_pointers = [ffi.cast("void *", self._memory + i * stride) for i in range(SLOTS)]
        self.length_pointers = [self._lengths + i for i in range(SLOTS)]
        self._wide: BatchBuffer | None = None
        #: C code that works on this memory, created once for it, if available (media.stream.fast_path_c).
        self.extension: Any = None

    @property
    def wide(self) -> "BatchBuffer":
        """Return the one for packets longer than NEAR, which a node without video never needs."""
        self._wide = self._wide or BatchBuffer(WIDE)
        return self._wide

    def extend(self, extension: Any) -> None:
        """Keep C code that works on this memory."""
        self.extension = extension

    def gather(self, lane: "Lane", lengths: tuple[int, ...]) -> None:
        """Copy packets whose beginnings and rests lie apart, so that each is in one piece."""
        memory, near, far = self.near, lane.near, lane.far
        for at, start, rest, length in zip(_WIDE_AT, _NEAR_AT, _FAR_AT, lengths, strict=False):
            memory[at : at + NEAR] = near[start : start + NEAR]
            if length > NEAR:
                memory[at + NEAR : at + length] = far[rest : rest + length - NEAR]

    def opened(self, slot: int) -> bytes:
        """Return a packet after its decryption."""
        length = int.from_bytes(self.lengths[4 * slot : 4 * slot + 4], "little")
        return bytes(self.near[slot * self.stride : slot * self.stride + length])


_WIDE_AT, _NEAR_AT, _FAR_AT = (tuple(range(0, SLOTS * stride, stride)) for stride in (WIDE, NEAR, FAR))


class Lane:
    """One batch in memory, received by this process or by a dead worker."""

    __slots__ = ("buffer", "control", "far", "first", "headers", "lengths", "names", "near", "place")

    def __init__(self, memory: memoryview, buffer: BatchBuffer) -> None:
        self.headers = memory[HEADERS_AT:NAMES_AT]
        #: Of each packet, as C ints at wide intervals.
        self.lengths = self.headers.cast("I")[LENGTH_AT // 4 :: MMSGHDR // 4]
        self.names = memory[NAMES_AT:CONTROL_AT]
        self.control = memory[CONTROL_AT:NEAR_AT]
        self.near = memory[NEAR_AT:FAR_AT]
        self.far = memory[FAR_AT:LANE]
        self.buffer = buffer
        #: The whole lane as C sees it, and which of its slots is our first.
        self.place, self.first = ffi.from_buffer(memory), 0

    def behind(self, slot: int) -> "Lane":
        """Return the slots from this one on, as a lane over the same memory."""
        if not slot:
            return self
        rest = Lane.__new__(Lane)
        rest.headers, rest.names = self.headers[slot * MMSGHDR :], self.names[slot * NAME :]
        rest.lengths = self.lengths[slot:]
        rest.control, rest.near = self.control[slot * CONTROL :], self.near[slot * NEAR :]
        rest.far, rest.buffer = self.far[slot * FAR :], self.buffer
        rest.place, rest.first = self.place, self.first + slot
        return rest

    def common_length(self, count: int) -> int:
        """Return the common length of the first `count` packets; 0 if they differ."""
        first: int = self.lengths[0]
        # compared as bytes: only the first is converted to a number
        return first if self.lengths[:count].tobytes() == first.to_bytes(4, "little") * count else 0

    def count(self) -> int:
        """Count the slots that the kernel has filled; after a crash nothing else tells."""
        lengths = LENGTHS[SLOTS](self.headers, 0)
        return next((i for i, length in enumerate(lengths) if length == UNUSED), SLOTS)

    @property
    def named(self) -> bool:
        """Return whether senders were requested; otherwise the socket was connected to the only possible one."""
        return any(self.headers[:NAME_POINTER])

    def packet(self, slot: int) -> bytes | None:
        """Return a packet as received; None if it was longer than a slot."""
        if _WORD(self.headers, slot * MMSGHDR + FLAGS_AT)[0] & MSG_TRUNC:
            return None
        length: int = _WORD(self.headers, slot * MMSGHDR + LENGTH_AT)[0]
        start = slot * NEAR
        if length <= NEAR:
            return bytes(self.near[start : start + length])
        return bytes(self.near[start : start + NEAR]) + bytes(self.far[slot * FAR : slot * FAR + length - NEAR])

    def arrival(self, slot: int) -> int:
        """Return the kernel's arrival time, ns since the epoch."""
        seconds, nanoseconds = _TIME(self.control, slot * CONTROL + 16)
        return int(seconds * SECOND + nanoseconds)

    def name(self, slot: int) -> bytes:
        """Return the sender's sockaddr: 16 bytes for IPv4, 28 for IPv6."""
        start = slot * NAME
        return bytes(self.names[start : start + (16 if self.names[start] == 2 else 28)])

    def address(self, slot: int) -> Address:
        """Return the sender's packed IP address and port."""
        return address(self.name(slot))


def address(name: bytes) -> Address:
    """Parse a sockaddr."""
    packed = name[4:8] if name[:1] == b"\x02" else name[8:24]
    return unwrap(packed), int.from_bytes(name[2:4], "big")


def deltas_of(nanos: tuple[int, ...], crossed: int) -> list[int] | None:
    """Return the ns between arrivals, from those within a second; `crossed`: seconds from the first to the last.

    Return None if they go backward or cross two seconds.
    """
    deltas = list(map(sub, nanos[1:], nanos))
    least = min(deltas)
    if crossed == 1 and least < 0:
        deltas[deltas.index(least)] += SECOND
        least = min(deltas)
    elif crossed:
        return None
    return deltas if least >= 0 else None
