"""Byte layout of stored records (docs/formats/records.md): records to bytes, and back."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, pairwise, repeat

from media.errors import Damaged

HEAD = 4
#: A body length has 24 bits.
MAX_BODY = (1 << 24) - 1
#: Arrival deltas are in units of 0.1 ms and saturate at 6.5 s.
DELTA_NS = 100_000
MAX_DELTA = 0xFFFF
ALL_STREAMS = 255

_RUN = struct.Struct("!IBBHHIIQIQ")
_PACKET = struct.Struct("!IBBQQ")
_MARK = struct.Struct("!IBBQQ")
_RTCP = struct.Struct("!IBBQ")
_MIXED = struct.Struct("!IBBHIIQIQ")
_WORD = struct.Struct("!I").unpack_from

#: Bytes of a RUN before its deltas, including the header.
RUN_HEAD = _RUN.size
#: Bytes of a PACKET before the packet, including the header.
PACKET_HEAD = _PACKET.size
pack_run = _RUN.pack
#: Bytes of a MIXED before its markers, including the header.
MIXED_HEAD = _MIXED.size
pack_mixed = _MIXED.pack
#: Instead of a step: each packet has its own.
OWN_STEPS = 0xFFFFFFFF


class Kind(IntEnum):
    """Record types; a reader skips unknown ones."""

    PAD = 0
    RUN = 1
    PACKET = 2
    MARK = 3
    RTCP = 4
    MIXED = 5
    EVENT = 16
    METADATA = 17
    OFFER = 18
    ANSWER = 19
    CALL = 20


#: Of an RTCP compound without its bytes; combining enumerations is slow.
_RTCP_HEAD = Kind.RTCP << 24 | _RTCP.size - HEAD


class Mark(IntEnum):
    """What a MARK means."""

    PAUSE = 1
    RESUME = 2
    HOLD = 3
    UNHOLD = 4
    RESTART = 5
    DISK = 6
    SOURCE = 7
    KEY = 8
    END = 9


#: Value of a SOURCE mark: the source heard until then was replaced by the one that the offer names (plain RTP).
GAVE_WAY = 1


@dataclass(frozen=True)
class Run:
    """Packets in sequence with one size, without CSRC, extension and padding."""

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
        """Yield (extended sequence, arrival, RTP packet) as received."""
        for i, payload in enumerate(self.payloads):
            second = (self.marker and not i) << 7 | self.payload_type
            timestamp = (self.timestamp + i * self.step) & 0xFFFFFFFF
            head = struct.pack("!BBHII", 0x80, second, (self.sequence + i) & 0xFFFF, timestamp, self.ssrc)
            yield self.sequence + i, self.arrivals[i], head + payload


@dataclass(frozen=True)
class Mixed:
    """Packets in sequence with any sizes and timestamps, without CSRC, extension and padding; at least two."""

    # index of the stream
    stream: int
    payload_type: int
    ssrc: int
    # extended sequence number of the first packet
    sequence: int
    # of each packet
    markers: tuple[bool, ...]
    timestamps: tuple[int, ...]
    # ns since the epoch
    arrivals: tuple[int, ...]
    payloads: tuple[bytes, ...]

    def packets(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield (extended sequence, arrival, RTP packet) as received."""
        for i, payload in enumerate(self.payloads):
            second = self.markers[i] << 7 | self.payload_type
            head = struct.pack("!BBHII", 0x80, second, (self.sequence + i) & 0xFFFF, self.timestamps[i], self.ssrc)
            yield self.sequence + i, self.arrivals[i], head + payload


@dataclass(frozen=True)
class Packet:
    """One decrypted RTP packet as received."""

    stream: int
    sequence: int
    arrival: int
    packet: bytes


@dataclass(frozen=True)
class Marked:
    """An event in a stream, or in all streams (255)."""

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
    """A record whose body is defined elsewhere (events, metadata, SDP)."""

    kind: int
    body: bytes


Record = Run | Mixed | Packet | Marked | Rtcp | Other


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


def mixed(record: Mixed) -> bytes:
    """Serialise packets of different sizes."""
    steps = [(later - earlier) & 0xFFFFFFFF for earlier, later in pairwise(record.timestamps)]
    deltas = [max(0, later - earlier) // DELTA_NS for earlier, later in pairwise(record.arrivals)]
    return mixed_of(
        record.stream, record.payload_type, record.ssrc, record.sequence, record.timestamps[0], record.arrivals[0],
        record.markers, steps, [min(MAX_DELTA, delta) for delta in deltas], record.payloads,
    )  # fmt: skip


def mixed_of(
    stream: int, payload_type: int, ssrc: int, sequence: int, timestamp: int, arrival: int,
    markers: Sequence[bool], steps: Sequence[int], deltas: Sequence[int], payloads: Sequence[bytes | memoryview],
) -> bytes:  # fmt: skip
    """Serialise packets from their differences: steps in timestamp units, deltas in 0.1 ms."""
    count = len(payloads)
    step = steps[0] if steps.count(steps[0]) == count - 1 else OWN_STEPS
    own = struct.pack(f"!{count - 1}I", *steps) if step == OWN_STEPS else b""
    between = struct.pack(f"!{2 * count - 1}H", *deltas, *map(len, payloads))
    body = b"".join((_bits(markers), between, own, *payloads))
    word = Kind.MIXED << 24 | MIXED_HEAD - HEAD + len(body)
    return pack_mixed(word, stream, payload_type, count, ssrc, step, sequence, timestamp, arrival) + body


def _bits(markers: Sequence[bool]) -> bytes:
    """Write one bit per packet, the first one highest."""
    size = -(-len(markers) // 8)
    if True not in markers:
        return bytes(size)
    bits = 0
    for marker in markers:
        bits = bits << 1 | marker
    return (bits << 8 * size - len(markers)).to_bytes(size, "big")


def packet(stream: int, sequence: int, arrival: int, data: bytes) -> bytes:
    """Serialise one packet unchanged."""
    return _PACKET.pack(Kind.PACKET << 24 | PACKET_HEAD - HEAD + len(data), stream, 0, sequence, arrival) + data


def mark(stream: int, kind: Mark, at: int, value: int = 0) -> bytes:
    """Serialise a mark; `at` in ns since the epoch."""
    return _MARK.pack(Kind.MARK << 24 | _MARK.size - HEAD, stream, kind, at, value)


def rtcp(stream: int, arrival: int, data: bytes) -> bytes:
    """Serialise an RTCP compound."""
    return _RTCP.pack(_RTCP_HEAD + len(data), stream, 0, arrival) + data


def other(kind: int, body: bytes) -> bytes:
    """Serialise a record of control parts; raise Damaged if the body's length exceeds 24 bits."""
    if len(body) > MAX_BODY:
        raise Damaged("a record body has at most 16 MiB")
    return (kind << 24 | len(body)).to_bytes(HEAD, "big") + body


def pad(room: int) -> bytes:
    """Write a PAD record of exactly `room` bytes; empty if not even its header fits."""
    return (room - HEAD).to_bytes(HEAD, "big") + bytes(room - HEAD) if room >= HEAD else b""


def last_start(data: bytes, limit: int) -> int:
    """Return the offset of the last record that starts at or before `limit`; `data` starts with a record."""
    at, end = 0, len(data)
    while at + HEAD <= end:
        after = at + HEAD + (_WORD(data, at)[0] & MAX_BODY)
        if after > limit:
            return at
        at = after
    return at


def read(chunks: Iterable[bytes]) -> Iterator[Record]:
    """Yield the records of one part.

    Skip pads, unknown types, and a record that the end of the part cuts off (the next part repeats it).
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
    """Parse one body; raise Damaged if it contradicts itself."""
    try:
        match kind:
            case Kind.RUN:
                return _decode_run(body)
            case Kind.MIXED:
                return _decode_mixed(body)
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


def _decode_mixed(body: bytes) -> Mixed:
    stream, payload_type, count, ssrc, step, sequence, timestamp, first = struct.unpack_from("!BBHIIQIQ", body)
    if count < 2 or payload_type > 127:
        raise Damaged("packets of different sizes are at least two of one payload type")
    at = MIXED_HEAD - HEAD
    marked = -(-count // 8)
    bits = int.from_bytes(body[at : at + marked], "big") >> 8 * marked - count
    deltas = struct.unpack_from(f"!{count - 1}H", body, at + marked)
    at += marked + 2 * (count - 1)
    sizes = struct.unpack_from(f"!{count}H", body, at)
    at += 2 * count
    steps: Iterable[int] = repeat(step, count - 1)
    if step == OWN_STEPS:
        steps = struct.unpack_from(f"!{count - 1}I", body, at)
        at += 4 * (count - 1)
    ends = tuple(accumulate(sizes, initial=at))
    if ends[-1] != len(body):
        raise Damaged("a record's length contradicts the sizes of its packets")
    return Mixed(
        stream,
        payload_type,
        ssrc,
        sequence,
        markers=tuple(bool(bits >> count - 1 - i & 1) for i in range(count)),
        timestamps=tuple(stamp & 0xFFFFFFFF for stamp in accumulate(steps, initial=timestamp)),
        arrivals=tuple(accumulate((delta * DELTA_NS for delta in deltas), initial=first)),
        payloads=tuple(body[begin:end] for begin, end in pairwise(ends)),
    )
