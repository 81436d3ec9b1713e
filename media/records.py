"""Byte layout of what is stored (docs/formats/records.md): records in, bytes out, and back."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate

from media.errors import Damaged

HEAD = 4
#: A body length has 24 bits.
MAX_BODY = (1 << 24) - 1
#: Arrival deltas are counted in 0.1 ms and saturate at 6.5 s.
DELTA_NS = 100_000
MAX_DELTA = 0xFFFF
ALL_STREAMS = 255

_RUN = struct.Struct("!IBBHHIIQIQ")
_PACKET = struct.Struct("!IBBQQ")
_MARK = struct.Struct("!IBBQQ")
_RTCP = struct.Struct("!IBBQ")
_WORD = struct.Struct("!I").unpack_from

#: Bytes of a RUN before its deltas, head included.
RUN_HEAD = _RUN.size
#: Bytes of a PACKET before the packet, head included.
PACKET_HEAD = _PACKET.size
pack_run = _RUN.pack


class Kind(IntEnum):
    """Record types; a reader skips those it does not know."""

    PAD = 0
    RUN = 1
    PACKET = 2
    MARK = 3
    RTCP = 4
    EVENT = 16
    METADATA = 17
    OFFER = 18
    ANSWER = 19
    CALL = 20


class Mark(IntEnum):
    """What a MARK says."""

    PAUSE = 1
    RESUME = 2
    HOLD = 3
    UNHOLD = 4
    RESTART = 5
    DISK = 6
    SOURCE = 7
    KEY = 8
    END = 9


@dataclass(frozen=True)
class Run:
    """Packets in order of one size, without CSRC, extension and padding."""

    # index of the stream
    stream: int
    # marker of the first packet
    marker: bool
    payload_type: int
    ssrc: int
    # timestamp units from packet to packet
    step: int
    # extended sequence number and timestamp of the first packet
    sequence: int
    timestamp: int
    # arrival of each, ns since the epoch
    arrivals: tuple[int, ...]
    payloads: tuple[bytes, ...]

    def packets(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield (extended sequence, arrival, RTP packet) as it was received."""
        for i, payload in enumerate(self.payloads):
            second = (self.marker and not i) << 7 | self.payload_type
            timestamp = (self.timestamp + i * self.step) & 0xFFFFFFFF
            head = struct.pack("!BBHII", 0x80, second, (self.sequence + i) & 0xFFFF, timestamp, self.ssrc)
            yield self.sequence + i, self.arrivals[i], head + payload


@dataclass(frozen=True)
class Packet:
    """One decrypted RTP packet as it was received."""

    stream: int
    sequence: int
    arrival: int
    packet: bytes


@dataclass(frozen=True)
class Marked:
    """Something that happened to a stream, or to all (255)."""

    stream: int
    kind: int
    at: int
    value: int


@dataclass(frozen=True)
class Rtcp:
    """One decrypted RTCP compound."""

    stream: int
    arrival: int
    packet: bytes


@dataclass(frozen=True)
class Other:
    """A record whose body belongs to somebody else (events, metadata, SDP)."""

    kind: int
    body: bytes


Record = Run | Packet | Marked | Rtcp | Other


def run(record: Run) -> bytes:
    """Serialise a run."""
    size, count = len(record.payloads[0]), len(record.payloads)
    deltas = [
        min(MAX_DELTA, max(0, later - earlier) // DELTA_NS)
        for earlier, later in zip(record.arrivals, record.arrivals[1:], strict=False)
    ]
    body = RUN_HEAD - HEAD + 2 * (count - 1) + count * size
    head = pack_run(
        Kind.RUN << 24 | body,
        record.stream,
        record.marker << 7 | record.payload_type,
        count,
        size,
        record.ssrc,
        record.step,
        record.sequence,
        record.timestamp,
        record.arrivals[0],
    )
    return head + struct.pack(f"!{count - 1}H", *deltas) + b"".join(record.payloads)


def packet(stream: int, sequence: int, arrival: int, data: bytes) -> bytes:
    """Serialise one packet as it is."""
    return _PACKET.pack(Kind.PACKET << 24 | PACKET_HEAD - HEAD + len(data), stream, 0, sequence, arrival) + data


def mark(stream: int, kind: Mark, at: int, value: int = 0) -> bytes:
    """Serialise a mark; `at` in ns since the epoch."""
    return _MARK.pack(Kind.MARK << 24 | _MARK.size - HEAD, stream, kind, at, value)


def rtcp(stream: int, arrival: int, data: bytes) -> bytes:
    """Serialise an RTCP compound."""
    return _RTCP.pack(Kind.RTCP << 24 | _RTCP.size - HEAD + len(data), stream, 0, arrival) + data


def other(kind: int, body: bytes) -> bytes:
    """Serialise a record of control parts; Damaged if the body is longer than 24 bits can say."""
    if len(body) > MAX_BODY:
        raise Damaged("a record body has at most 16 MiB")
    return (kind << 24 | len(body)).to_bytes(HEAD, "big") + body


def pad(room: int) -> bytes:
    """Make a PAD record of exactly `room` bytes; nothing if not even its head fits."""
    return (room - HEAD).to_bytes(HEAD, "big") + bytes(room - HEAD) if room >= HEAD else b""


def last_start(data: bytes, limit: int) -> int:
    """Give the offset of the last record that begins at or before `limit`; `data` begins with a record."""
    at, end = 0, len(data)
    while at + HEAD <= end:
        after = at + HEAD + (_WORD(data, at)[0] & MAX_BODY)
        if after > limit:
            return at
        at = after
    return at


def read(chunks: Iterable[bytes]) -> Iterator[Record]:
    """Yield the records of one part; a record cut off by its end is void (the next part repeats it), pads and
    unknown types are skipped.
    """
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        at = 0
        while at + HEAD <= len(buffer):
            word = _WORD(buffer, at)[0]
            after = at + HEAD + (word & MAX_BODY)
            if after > len(buffer):
                break
            record = _decode(word >> 24, bytes(buffer[at + HEAD : after]))
            if record is not None:
                yield record
            at = after
        del buffer[:at]


def _decode(kind: int, body: bytes) -> Record | None:
    """Read one body; Damaged if it contradicts itself."""
    try:
        match kind:
            case Kind.RUN:
                return _decode_run(body)
            case Kind.PACKET:
                stream, _, sequence, arrival = struct.unpack_from("!BBQQ", body)
                return Packet(stream, sequence, arrival, body[PACKET_HEAD - HEAD :])
            case Kind.MARK:
                return Marked(*struct.unpack_from("!BBQQ", body))
            case Kind.RTCP:
                stream, _, arrival = struct.unpack_from("!BBQ", body)
                return Rtcp(stream, arrival, body[_RTCP.size - HEAD :])
    except struct.error:
        raise Damaged("a record is shorter than its type says") from None
    return Other(kind, body) if kind >= Kind.EVENT else None


def _decode_run(body: bytes) -> Run:
    stream, second, count, size, ssrc, step, sequence, timestamp, first = struct.unpack_from("!BBHHIIQIQ", body)
    at = RUN_HEAD - HEAD
    payload_at = at + 2 * (count - 1)
    if not count or payload_at + count * size != len(body):
        raise Damaged("a run's length contradicts its count and size")
    deltas = struct.unpack_from(f"!{count - 1}H", body, at)
    arrivals = tuple(accumulate((delta * DELTA_NS for delta in deltas), initial=first))
    payloads = tuple(body[i : i + size] for i in range(payload_at, len(body), size)) if size else (b"",) * count
    return Run(stream, second > 127, second & 127, ssrc, step, sequence, timestamp, arrivals, payloads)
