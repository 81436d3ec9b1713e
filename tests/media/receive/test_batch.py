"""One batch in memory: where each part of a packet lies, and what a successor can still read of it."""

import struct

import pytest

from media.receive import batch
from media.receive.batch import (
    FAR,
    HEADS,
    LENGTHS,
    NANOS,
    NEAR,
    SLOTS,
    BatchBuffer,
    Lane,
    address,
    deltas_of,
    payloads,
    sizes,
)
from media.rtp import header

SECOND = 1_000_000_000
AT = 1_700_000_000 * SECOND + 999_999_999


def empty() -> Lane:
    lane = Lane(memoryview(bytearray(batch.LANE)), BatchBuffer())
    for slot in range(SLOTS):
        struct.pack_into("=I", lane.headers, slot * batch.MMSGHDR + batch.LENGTH_AT, batch.UNUSED)
    return lane


def put(lane: Lane, slot: int, packet: bytes, arrival: int = AT, flags: int = 0) -> None:
    """Fill a slot as the kernel does."""
    struct.pack_into("=I", lane.headers, slot * batch.MMSGHDR + batch.LENGTH_AT, len(packet))
    struct.pack_into("=I", lane.headers, slot * batch.MMSGHDR + batch.FLAGS_AT, flags)
    struct.pack_into("=qq", lane.control, slot * batch.CONTROL + 16, *divmod(arrival, SECOND))
    near, far = packet[:NEAR], packet[NEAR : NEAR + FAR]
    lane.near[slot * NEAR : slot * NEAR + len(near)] = near
    lane.far[slot * FAR : slot * FAR + len(far)] = far


@pytest.mark.parametrize("size", [0, 1, 12, NEAR - 1, NEAR, NEAR + 1, 1500, NEAR + FAR])
def test_a_packet_of_any_size_comes_back_whole(size: int) -> None:
    lane, packet = empty(), bytes(i % 251 for i in range(size))
    put(lane, 0, b"before" * 400)
    put(lane, 1, packet, AT + 1)
    put(lane, 2, b"behind" * 400)
    put(lane, 3, bytes(NEAR + FAR), flags=batch.MSG_TRUNC)
    assert (lane.packet(1), lane.packet(3)) == (packet, None)  # what did not fit is no packet
    assert [lane.arrival(slot) for slot in (0, 1)] == [AT, AT + 1]


def test_a_sender_is_read_in_both_families() -> None:
    four = struct.pack("=H", 2) + (4000).to_bytes(2, "big") + bytes((192, 0, 2, 1)) + bytes(8)
    six = bytes(range(0x20, 0x30))
    lane = empty()
    lane.names[0:16] = four
    lane.names[32:60] = struct.pack("=H", 10) + (4002).to_bytes(2, "big") + bytes(4) + six + bytes(4)
    assert (len(lane.name(0)), lane.address(0)) == (16, (bytes((192, 0, 2, 1)), 4000))
    assert (len(lane.name(1)), lane.address(1)) == (28, (six, 4002))
    mapped = struct.pack("=H", 10) + (1).to_bytes(2, "big") + bytes(4) + bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 1))
    assert address(mapped + bytes(4)) == (bytes((10, 0, 0, 1)), 1)


@pytest.mark.parametrize("slot", [0, 1, SLOTS - 2])
def test_the_slots_after_an_offset_read_as_a_lane(slot: int) -> None:
    lane, packets = empty(), [header.build(8, 70 + i, 160 * i, 7, bytes([i]) * (160 + 8 * i)) for i in range(SLOTS)]
    for n, packet in enumerate(packets):
        put(lane, n, packet, AT + n)
        lane.names[32 * n : 32 * n + 8] = struct.pack("=H", 2) + (4000 + n).to_bytes(2, "big") + bytes((192, 0, 2, 1))
    rest = lane.behind(slot)
    for n, packet in enumerate(packets[slot:]):
        assert (rest.packet(n), rest.arrival(n)) == (packet, AT + slot + n)
        assert rest.address(n) == (bytes((192, 0, 2, 1)), 4000 + slot + n)
    assert LENGTHS[2](rest.headers, 0) == (len(packets[slot]), len(packets[slot + 1]))
    assert NANOS[1](rest.control, 0)[0] == (AT + slot) % SECOND
    assert HEADS[2](rest.near, 0)[1] >> 32 & 0xFFFF == 71 + slot
    assert rest.common_length(1) == len(packets[slot])
    assert not rest.common_length(2)


def test_a_length_is_common_to_the_packets_of_the_batch_alone() -> None:
    lane = empty()
    for slot, size in enumerate([172, 172, 172, 173]):
        put(lane, slot, bytes(size))
    assert [lane.common_length(count) for count in (1, 2, 3, 4)] == [172, 172, 172, 0]
    assert lane.behind(2).common_length(1) == 172


def test_readers_are_kept_but_not_for_ever() -> None:
    first = payloads(2, 20)
    assert payloads(2, 20) is first
    for size in range(13, 13 + batch.MAX_READERS):
        payloads(3, size)
    assert payloads(2, 20) is not first


@pytest.mark.parametrize(
    ("nanos", "crossed"),
    [((200, 100), 0), ((200, 100, 50), 1), ((100, 200, 900), 1), ((900, 100, 200), 2), ((900, 100, 900, 100), 2)],
    ids=["backward", "backward behind a second", "more than a second of silence", "two", "two, one after the other"],
)
def test_ambiguous_arrival_deltas_are_not_guessed(nanos: tuple[int, ...], crossed: int) -> None:
    assert deltas_of(nanos, crossed) is None
    assert deltas_of((100, 100, 100), 0) == [0, 0]
    assert deltas_of((SECOND - 10, SECOND - 10, 5), 1) == [0, 15]


def test_lengths_for_libsrtp_are_c_ints_of_every_slot() -> None:
    buffer = BatchBuffer()
    buffer.lengths[:] = sizes(182)
    assert struct.unpack(f"={SLOTS}i", buffer.lengths) == (182,) * SLOTS
    assert [pointer[0] for pointer in buffer.length_pointers] == [182] * SLOTS
    assert len(buffer.packet_pointers) == SLOTS
