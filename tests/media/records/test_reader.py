"""Records become batches, clock pairs and marks."""

import struct

from media.records import record_format
from media.records.reader import Batch, ClockPair, batches
from media.records.record_format import Mark, Marked
from media.rtp import header
from tests.in_process.rendered_calls import MS, START, run


def read(stored: bytes) -> list[Batch | ClockPair | Marked]:
    return list(batches(record_format.read([stored])))


def test_a_run_is_read_as_a_batch_and_can_be_taken_in_parts() -> None:
    (batch,) = read(run([b"a", b"b", b"c"], seq=10, ts=0xFFFF_FF60, at=0))
    assert isinstance(batch, Batch)
    assert (batch.ext_seq, batch.packets, batch.first, batch.step) == (10, 3, b"a", 160)
    assert (batch.arrival, batch.last_arrival) == (START, START + 40 * MS)
    part = batch.part(11, 2)
    assert (part.ext_seq, part.timestamp, part.payloads, part.arrival) == (11, 0, (b"b", b"c"), START + 20 * MS)
    assert batch.part(10, 3) is batch
    assert not batch._replace(marker=True).part(11, 2).marker


def test_packets_of_different_sizes_come_one_by_one() -> None:
    arrivals = (START, START + 20 * MS)
    mixed = record_format.Mixed(0, 111, 7, 65_536, (False, True), (9, 969), arrivals, (b"a", b"bb"))
    one, two = read(record_format.mixed(mixed))
    assert isinstance(one, Batch) and isinstance(two, Batch)
    assert (one.ext_seq, one.timestamp, one.marker, one.payloads) == (65_536, 9, False, (b"a",))
    assert (two.ext_seq, two.timestamp, two.marker, two.payloads) == (65_537, 969, True, (b"bb",))
    assert (one.arrival, two.arrival, one.packets) == (*arrivals, 1)


def test_a_packet_is_stripped_of_extension_and_padding() -> None:
    packet = bytearray(header.build(8, 7, 8, 9, b"\xbe\xde\x00\x01abcdsound\x00\x00\x03"))
    packet[0] |= 0x30
    (batch,) = read(record_format.packet(1, 7, START, bytes(packet)))
    assert isinstance(batch, Batch)
    assert (batch.payloads, batch.payload_type, batch.ssrc, batch.timestamp) == ((b"sound",), 8, 9, 8)
    assert batch.packet == bytes(packet)


def test_reports_and_marks_pass_and_the_rest_does_not() -> None:
    ntp = (2_208_988_800 + 1_700_000_000) << 32 | 1 << 31
    report = struct.pack("!BBHIQIII", 0x80, 200, 6, 77, ntp, 1234, 0, 0)
    stored = (
        record_format.mark(255, Mark.PAUSE, START)
        + record_format.other(16, b"{}")
        + record_format.pad(8)
        + record_format.packet(0, 1, START, b"junk")
        + record_format.rtcp(0, START, b"junk")
        + record_format.rtcp(2, START, report)
    )
    assert read(stored) == [
        Marked(255, Mark.PAUSE, START, 0), ClockPair(2, 77, START, START + 500 * MS, 1234),
    ]  # fmt: skip
