"""The RTP header (RFC 3550 section 5.1), checked before any of it is used."""

import struct

from media.errors import Malformed

HEADER = 12
_HEAD = struct.Struct("!BBHII").unpack_from

#: First bytes that RFC 7983 assigns to RTP and RTCP; STUN has 0-3, DTLS 20-63.
MEDIA_FIRST_BYTES = range(128, 192)
#: Second bytes of RTCP on a shared port, RFC 5761 section 4.
RTCP_SECOND_BYTES = range(192, 224)

#: marker, payload type, sequence, timestamp, SSRC, start and end of the payload
Parsed = tuple[bool, int, int, int, int, int, int]


def is_media(packet: bytes) -> bool:
    """Return whether the first byte is one of RTP and RTCP, not of STUN, DTLS or noise (RFC 7983)."""
    return len(packet) >= HEADER - 4 and packet[0] in MEDIA_FIRST_BYTES


def is_rtcp(packet: bytes) -> bool:
    """Return whether this is RTCP rather than RTP on a shared port (RFC 5761 section 4)."""
    return len(packet) >= 8 and packet[0] in MEDIA_FIRST_BYTES and packet[1] in RTCP_SECOND_BYTES


def parse(packet: bytes) -> Parsed:
    """Parse the header of a decrypted packet; raise Malformed unless CSRC count, extension and padding fit."""
    if len(packet) < HEADER or packet[0] >> 6 != 2:
        raise Malformed("not an RTP packet")
    first, second, sequence, timestamp, ssrc = _HEAD(packet)
    begin, end = HEADER + 4 * (first & 15), len(packet)
    if first & 0x10:
        if begin + 4 > end:
            raise Malformed("the header extension does not fit")
        begin += 4 + 4 * int.from_bytes(packet[begin + 2 : begin + 4], "big")
    if first & 0x20:
        if not packet[-1]:
            raise Malformed("the padding length is zero")
        end -= packet[-1]
    if begin > end:
        raise Malformed("header and padding do not fit")
    return second > 127, second & 127, sequence, timestamp, ssrc, begin, end


def build(payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, marker: bool = False) -> bytes:
    """Write a packet without CSRC, extension and padding."""
    head = struct.pack(
        "!BBHII", 0x80, marker << 7 | payload_type, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc & 0xFFFFFFFF
    )
    return head + payload
