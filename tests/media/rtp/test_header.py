"""RTP headers: everything checked before use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.errors import Malformed
from media.rtp import header


def test_an_rtp_header_is_read_and_its_payload_located() -> None:
    """Duty R24."""
    assert header.parse(header.build(8, 65537, 5, 7, b"abc", marker=True)) == (True, 8, 1, 5, 7, 12, 15)
    packet = bytearray(header.build(0, 1, 2, 3, bytes(4) + b"\xbe\xde\0\1" + bytes(4) + b"ab" + b"\0\0\3"))
    packet[0] |= 0x31  # a CSRC, an extension, padding
    assert header.parse(bytes(packet))[5:] == (24, 26)


@pytest.mark.parametrize(
    ("first", "rest"), [(0x80, b""), (0x40, bytes(11)), (0x8F, bytes(11)), (0x90, bytes(13)), (0xA0, bytes(12))]
)
def test_a_malformed_rtp_header_is_refused(first: int, rest: bytes) -> None:
    """Duty T1."""
    with pytest.raises(Malformed):
        header.parse(bytes([first]) + rest)


@given(st.binary(max_size=80))
def test_noise_is_a_packet_or_malformed(noise: bytes) -> None:
    try:
        begin, end = header.parse(noise)[5:]
    except Malformed:
        return
    assert 12 <= begin <= end <= len(noise)
