"""RTCP of a sender: sender reports out, receiver reports in (RFC 3550 section 6)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_NTP_EPOCH = 2_208_988_800
"""Seconds from 1900 to 1970."""
_SENDER, _RECEIVER, _GOODBYE = 200, 201, 203
_BLOCK = struct.Struct("!IB3sIIII")
_HEAD = struct.Struct("!BBHI")


@dataclass(frozen=True, slots=True)
class Heard:
    """What a recorder says about one of our streams."""

    ssrc: int
    """Our synchronisation source."""
    fraction: int
    """Share lost since its last report, in 1/256."""
    lost: int
    """Packets lost in all."""
    highest: int
    """Extended highest sequence number received."""
    jitter: int
    """In RTP clock units."""


def sender_report(ssrc: int, now: float, timestamp: int, packets: int, octets: int, *, leaving: bool = False) -> bytes:
    """Build a compound packet: sender report, CNAME, and BYE when `leaving`."""
    seconds = int(now)
    times = (seconds + _NTP_EPOCH & 0xFFFFFFFF, int((now - seconds) * 2**32), timestamp & 0xFFFFFFFF)
    head = _HEAD.pack(0x80, _SENDER, 6, ssrc) + struct.pack("!IIIII", *times, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF)
    name = f"{ssrc:08x}@recorder.simulate".encode()
    item = bytes([1, len(name)]) + name + b"\0"
    item += bytes(-len(item) % 4)
    source = struct.pack("!BBHI", 0x81, 202, 1 + len(item) // 4, ssrc) + item
    return head + source + (_HEAD.pack(0x81, _GOODBYE, 1, ssrc) if leaving else b"")


def heard(compound: bytes) -> list[Heard]:
    """Read the report blocks of a decrypted compound packet; skip what does not fit."""
    found: list[Heard] = []
    at = 0
    while at + 8 <= len(compound):
        first, kind, words, _ = _HEAD.unpack_from(compound, at)
        end = at + 4 + 4 * words
        if first >> 6 != 2 or end > len(compound):
            return found
        block = at + (28 if kind == _SENDER else 8)
        for _ in range(first & 31 if kind in (_SENDER, _RECEIVER) else 0):
            if block + _BLOCK.size > end:
                break
            ssrc, fraction, lost, highest, jitter, _, _ = _BLOCK.unpack_from(compound, block)
            found.append(Heard(ssrc, fraction, int.from_bytes(lost, "big", signed=True), highest, jitter))
            block += _BLOCK.size
        at = end
    return found
