"""RTCP: sender reports read, receiver reports as RFC 3550 lays them out."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.errors import Malformed
from media.rtp import rtcp


def test_a_report_is_a_compound_of_rr_and_sdes() -> None:
    """Duties R22, T2."""
    block = rtcp.block(ssrc=7, fraction=64, lost=-1, highest=70000, jitter=12, last_report=9, delay=65536)
    packets = list(rtcp.split(rtcp.receiver_report(5, b"recorder", block)))
    assert [kind for kind, _ in packets] == [rtcp.RECEIVER_REPORT, rtcp.SDES]
    assert struct.unpack("!IIIIII", packets[0][1][8:]) == (7, 64 << 24 | 0xFFFFFF, 70000, 12, 9, 65536)
    assert packets[1][1][8:18] == b"\1\x08recorder"


def test_who_sent_a_compound_and_how_much_is_read_in_one_pass() -> None:
    first = struct.pack("!BBHIQIII", 0x80, 200, 6, 3, 0x1122_3344_5566_7788, 160, 9, 1440)
    other = struct.pack("!BBHIQIII", 0x80, 200, 6, 4, 0, 160, 5, 1440)
    empty = rtcp.receiver_report(1, b"x")
    assert rtcp.sender_report(empty + first) == rtcp.SenderReport(3, 0x1122_3344_5566_7788, 160)
    for compound, said in (
        (first + rtcp.goodbye(8), (3, 9, 0x3344_5566)),
        (empty + first, (3, 9, 0x3344_5566)),
        (first + other, (3, 9, 0)),  # the first sender, the last clock
        (empty, (1, -1, -1)),
        (empty + rtcp.goodbye(2), (2, -1, -1)),
        (b"\x80\xc8\0\0" + empty[8:], (-1, -1, -1)),  # a sender report without a sender
        (b"", (-1, -1, -1)),
    ):
        assert rtcp.heard(compound) == said


@pytest.mark.parametrize("size", range(1, 10))
def test_a_canonical_name_of_any_length_ends_in_zeros(size: int) -> None:
    compound = rtcp.receiver_report(5, b"n" * size)
    ((_, _), (kind, said)) = rtcp.split(compound)
    assert (kind, said[:10]) == (rtcp.SDES, struct.pack("!BBHIBB", 0x81, 202, len(said) // 4 - 1, 5, 1, size))
    assert said[10:].rstrip(b"\0") == b"n" * size
    assert 1 <= len(said) - 10 - size <= 4


@given(st.binary(max_size=80))
def test_noise_is_rtcp_or_malformed(noise: bytes) -> None:
    try:
        assert b"".join(packet for _, packet in rtcp.split(noise)) == noise
    except Malformed:
        with pytest.raises(Malformed):
            rtcp.heard(noise)
    else:
        rtcp.heard(noise)


def test_a_length_beyond_the_end_is_malformed() -> None:
    for read in (rtcp.sender_report, rtcp.heard):
        with pytest.raises(Malformed):
            read(b"\x80\xc8\0\7" + bytes(4))
