"""RTCP: sender reports read, receiver reports as RFC 3550 lays them out."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import rtcp
from media.errors import Malformed


def test_a_report_is_a_compound_of_rr_and_sdes() -> None:
    """Duties R22, T2."""
    block = rtcp.Report(ssrc=7, fraction=64, lost=-1, highest=70000, jitter=12, last_report=9, delay=65536)
    packets = list(rtcp.split(rtcp.receiver_report(5, b"recorder", block)))
    assert [kind for kind, _ in packets] == [rtcp.RECEIVER_REPORT, rtcp.SDES]
    assert struct.unpack("!IIIIII", packets[0][1][8:]) == (7, 64 << 24 | 0xFFFFFF, 70000, 12, 9, 65536)
    assert packets[1][1][8:18] == b"\1\x08recorder"


def test_a_sender_report_is_found_behind_others() -> None:
    report = struct.pack("!BBHIQIII", 0x80, 200, 6, 3, 1 << 40, 160, 1, 1)
    found = rtcp.sender_report(rtcp.receiver_report(1, b"x", None) + report)
    assert found == rtcp.SenderReport(3, 1 << 40, 160)


@given(st.binary(max_size=80))
def test_noise_is_rtcp_or_malformed(noise: bytes) -> None:
    try:
        assert b"".join(packet for _, packet in rtcp.split(noise)) == noise
    except Malformed:
        pass


def test_a_length_beyond_the_end_is_malformed() -> None:
    with pytest.raises(Malformed):
        rtcp.sender_report(b"\x80\xc8\0\7" + bytes(4))
