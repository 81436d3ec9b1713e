"""RTCP (RFC 3550 section 6): parse sender reports, write receiver reports with SDES."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from media.errors import Malformed

SENDER_REPORT, RECEIVER_REPORT, SDES, BYE = 200, 201, 202, 203
CNAME = 1
#: Packets read in one compound; real ones contain two to four.
MAX_PACKETS = 32
#: Seconds between two reports of a stream: the minimum interval of RFC 3550 section 6.2, not randomised because there
#: is only one receiver.
INTERVAL = 5.0

_HEAD = struct.Struct("!BBH").unpack_from
#: Of a sender report after its header: SSRC, middle of the NTP time, packets sent.
_SENT = struct.Struct("!I2xI6xI").unpack_from
_SSRC = struct.Struct("!I").unpack_from
#: RR and the start of SDES, without and with a block.
_WITHOUT = struct.Struct("!BBHIBBHI").pack
_WITH_BLOCK = struct.Struct("!BBHI6IBBHI").pack

#: Words of a reception report block.
Block = tuple[int, int, int, int, int, int]


@dataclass(frozen=True)
class SenderReport:
    """The clock pair of a sender (RFC 3550 section 6.4.1)."""

    # its sender
    ssrc: int
    # NTP time, 64 bits of which the upper 32 are seconds
    ntp: int
    # the same instant as RTP timestamp
    timestamp: int


def split(compound: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (packet type, packet) for each packet in a compound; raise Malformed if a length does not fit."""
    at = 0
    for _ in range(MAX_PACKETS):
        if at == len(compound):
            return
        if at + 4 > len(compound) or compound[at] >> 6 != 2:
            raise Malformed("not an RTCP packet")
        end = at + 4 + 4 * int.from_bytes(compound[at + 2 : at + 4], "big")
        if end > len(compound):
            raise Malformed("an RTCP length does not fit")
        yield compound[at + 1], compound[at:end]
        at = end


def sender_report(compound: bytes) -> SenderReport | None:
    """Return the sender report in a compound, or None; raise Malformed if it is no RTCP."""
    found = None
    for kind, packet in split(compound):
        if kind == SENDER_REPORT and len(packet) >= 28:
            ssrc, ntp, timestamp = struct.unpack_from("!IQI", packet, 4)
            found = SenderReport(ssrc, ntp, timestamp)
    return found


def heard(compound: bytes) -> tuple[int, int, int]:
    """Return the sender of a compound, how many packets it says it has sent, and the middle 32 bits of its NTP time.

    Each is -1 if missing: a sender without a count has been silent (RFC 3550 section 6.4) or is leaving. Raise
    Malformed if it is no RTCP.
    """
    sender = sent = middle = -1
    at, size = 0, len(compound)
    for _ in range(MAX_PACKETS):
        if at == size:
            break
        if at + 4 > size:
            raise Malformed("not an RTCP packet")
        first, kind, words = _HEAD(compound, at)
        length = 4 + 4 * words
        if first >> 6 != 2:
            raise Malformed("not an RTCP packet")
        if at + length > size:
            raise Malformed("an RTCP length does not fit")
        if kind == SENDER_REPORT and length >= 28:
            ssrc, middle, count = _SENT(compound, at + 4)
            if sent < 0:  # the first sender counts, and the last one's time
                sender, sent = ssrc, count
        elif kind in (RECEIVER_REPORT, BYE) and length >= 8 and sent < 0:
            sender = _SSRC(compound, at + 4)[0]
        at += length
    return sender, sent, middle


def block(ssrc: int, fraction: int, lost: int, highest: int, jitter: int, last_report: int, delay: int) -> Block:
    """Return the words of a reception report block on source `ssrc`.

    `fraction` is the loss in 256ths since the previous report, `lost` the loss since the start; `highest` the extended
    sequence number; `jitter` in timestamp units; `last_report` the middle of the last sender report's NTP time, 0 =
    none; `delay` the time since then in 1/65536 s.
    """
    lost = max(-0x800000, min(0x7FFFFF, lost)) & 0xFFFFFF
    return (
        ssrc, (fraction & 0xFF) << 24 | lost, highest & 0xFFFFFFFF, min(jitter, 0xFFFFFFFF), last_report,
        min(delay, 0xFFFFFFFF),
    )  # fmt: skip


def receiver_report(own_ssrc: int, cname: bytes, block: Block | tuple[()] = ()) -> bytes:
    """Write RR and SDES CNAME; an RR without a block only says that we are here."""
    items = _items(cname)
    pack, words = (_WITH_BLOCK, 7) if block else (_WITHOUT, 1)
    return pack(
        0x81 if block else 0x80, RECEIVER_REPORT, words, own_ssrc, *block, 0x81, SDES, 1 + len(items) // 4, own_ssrc,
    ) + items  # fmt: skip


@lru_cache(maxsize=4)
def _items(cname: bytes) -> bytes:
    """Write the items of an SDES chunk, which end with at least one zero."""
    return bytes((CNAME, len(cname))) + cname + bytes(-(len(cname) + 2) % 4 or 4)


def goodbye(own_ssrc: int) -> bytes:
    """Write the BYE that follows a last report."""
    return struct.pack("!BBHI", 0x81, BYE, 1, own_ssrc)
