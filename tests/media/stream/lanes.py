"""Packets as a stream receives them: in the slots of a lane, as the kernel fills it."""

import struct
from collections.abc import Sequence
from typing import Any

from media.receive import batch
from media.receive.batch import BatchBuffer, Lane
from media.records import record_format
from media.rtp import header
from media.spec import StreamSpec
from media.stream import checkpoint
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream

SUITE, KEY = "AES_CM_128_HMAC_SHA1_80", bytes(range(30))
PAYLOADS = ((0, "PCMU", 8000), (8, "PCMA", 8000))
FIRST_ARRIVAL = 1_700_000_000_990_000_000
FRAME = 20_000_000
BUFFER = BatchBuffer()


def lane_of(
    packets: Sequence[bytes], arrivals: Sequence[int], address: tuple[int, ...] = (192, 0, 2, 1), port: int = 4000
) -> Lane:
    lane = Lane(memoryview(bytearray(batch.LANE)), BUFFER)
    for slot in range(batch.SLOTS):
        struct.pack_into("=I", lane.headers, slot * batch.MMSGHDR + batch.LENGTH_AT, batch.UNUSED)
    for slot, (packet, arrival) in enumerate(zip(packets, arrivals, strict=True)):
        struct.pack_into("=I", lane.headers, slot * batch.MMSGHDR + batch.LENGTH_AT, len(packet))
        struct.pack_into("=qq", lane.control, slot * batch.CONTROL + 16, *divmod(arrival, 1_000_000_000))
        lane.names[slot * 32 : slot * 32 + 8] = struct.pack("=H", 2) + port.to_bytes(2, "big") + bytes(address)
        near, far = packet[: batch.NEAR], packet[batch.NEAR :]
        lane.near[slot * batch.NEAR : slot * batch.NEAR + len(near)] = near
        lane.far[slot * batch.FAR : slot * batch.FAR + len(far)] = far
    return lane


def receive(
    track: ReceivedStream,
    packets: Sequence[bytes],
    at: float = 0,
    *,
    arrivals: Sequence[int] = (),
    cuts: int = 50,
    address: tuple[int, ...] = (192, 0, 2, 1),
    port: int = 4000,
) -> list[bytes]:
    """Have a stream receive packets, `cuts` in a batch, 20 ms apart from the `at`-th on; return what it stores."""
    out: list[bytes] = []
    times = arrivals or [FIRST_ARRIVAL + int((at + n) * FRAME) for n in range(len(packets))]
    for begin in range(0, len(packets), cuts):
        part = packets[begin : begin + cuts]
        track.receive(lane_of(part, times[begin : begin + cuts], address, port), len(part), out)
    return out


def track_of(srtp: bool = False, pure: bool = False, **more: Any) -> ReceivedStream:
    """Make a stream of G.711; `more` are other fields of its description."""
    keys = {"suite": SUITE, "key": KEY} if srtp else {}
    fields: dict[str, Any] = {"payloads": PAYLOADS, "source": ("192.0.2.1", 4000), **keys, **more}
    track = ReceivedStream(StreamSpec(0, **fields), Pauses(), 1)
    track.latch.pure = pure
    return track


def successor_of(track: ReceivedStream, spec: StreamSpec | None = None) -> ReceivedStream:
    """Make the stream that another worker continues from a checkpoint."""
    successor = ReceivedStream(spec or track.spec, Pauses(), 1)
    base = checkpoint.pack([track])
    checkpoint.restore(base, checkpoint.moving([track]), {successor.spec.stream: successor})
    return successor


def stored(out: Sequence[bytes]) -> list[tuple[int, bytes]]:
    found = []
    for record in record_format.read([b"".join(out)]):
        if isinstance(record, record_format.Run | record_format.Mixed):
            found += [(sequence, packet) for sequence, _, packet in record.packets()]
        elif isinstance(record, record_format.Packet):
            found.append((record.sequence, record.packet))
    return found


def packets_of(out: Sequence[bytes]) -> list[bytes]:
    return [packet for _, packet in stored(out)]


def numbers_of(out: Sequence[bytes]) -> list[int]:
    return [sequence for sequence, _ in stored(out)]


def stream_of(count: int, first: int, ssrc: int = 7) -> list[bytes]:
    return [header.build(8, first + i, (first + i) * 160, ssrc, bytes([i % 256]) * 160) for i in range(count)]


def altered(packet: bytes) -> bytes:
    """Forge a packet by one bit of its tag."""
    return packet[:-1] + bytes([packet[-1] ^ 1])
