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


def test_it_is_a_compound_with_a_name_and_in_the_end_a_goodbye() -> None:
    kinds = [kind for kind, _ in rtcp.split(sender_report(1, 0.0, 0, 0, 0, leaving=True))]
    assert kinds == [200, 202, 203]


def block(ssrc: int, lost: int) -> bytes:
    return struct.pack("!IB3sIIII", ssrc, 12, lost.to_bytes(3, "big", signed=True), 70_000, 8, 0, 0)


def test_blocks_of_a_receiver_report_are_read() -> None:
    compound = struct.pack("!BBHI", 0x82, 201, 13, 9) + block(5, 3) + block(6, -2)
    assert heard(compound) == [Heard(5, 12, 3, 70_000, 8), Heard(6, 12, -2, 70_000, 8)]


def test_blocks_behind_a_sender_report_are_read_too() -> None:
    compound = struct.pack("!BBHI", 0x81, 200, 12, 9) + bytes(20) + block(5, 0)
    assert [h.ssrc for h in heard(compound)] == [5]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_left_out(data: bytes) -> None:
    assert all(isinstance(each, Heard) for each in heard(data))


def test_a_cut_report_gives_nothing() -> None:
    whole = struct.pack("!BBHI", 0x81, 201, 7, 9) + block(5, 3)
    assert all(heard(whole[:length]) == [] for length in range(len(whole)))
