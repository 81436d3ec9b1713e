import struct

from hypothesis import given
from hypothesis import strategies as st

from media.rtp import rtcp
from recorder.simulate.reports import Heard, heard, sender_report


def test_a_sender_report_says_what_was_sent_and_when() -> None:
    made = sender_report(0x1234, 1_000_000_000.5, 16_000, 100, 16_000)
    ntp, timestamp, packets, octets = struct.unpack_from("!QIII", made, 8)
    assert ntp >> 32 == 1_000_000_000 + 2_208_988_800 and ntp & 0xFFFFFFFF == 1 << 31
    assert (timestamp, packets, octets) == (16_000, 100, 16_000)
    leaving = sender_report(1, 0.0, 0, 0, 0, leaving=True)
    assert [kind for kind, _ in rtcp.split(leaving)] == [200, 202, 203]  # a name, and in the end a goodbye


def block(ssrc: int, lost: int) -> bytes:
    return struct.pack("!IB3sIIII", ssrc, 12, lost.to_bytes(3, "big", signed=True), 70_000, 8, 0, 0)


def test_blocks_of_both_kinds_of_reports_are_read() -> None:
    receiver = struct.pack("!BBHI", 0x82, 201, 13, 9) + block(5, 3) + block(6, -2)
    assert heard(receiver) == [Heard(5, 12, 3, 70_000, 8), Heard(6, 12, -2, 70_000, 8)]
    assert all(heard(receiver[:length]) == [] for length in range(len(receiver)))
    sender = struct.pack("!BBHI", 0x81, 200, 12, 9) + bytes(20) + block(5, 0)
    assert [h.ssrc for h in heard(sender)] == [5]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_left_out(data: bytes) -> None:
    assert all(isinstance(each, Heard) for each in heard(data))
