"""RTCP of RFC 3550 section 6: read sender reports, write receiver reports with SDES."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from media.errors import Malformed

SENDER_REPORT, RECEIVER_REPORT, SDES, BYE = 200, 201, 202, 203
CNAME = 1
#: Packets of one compound that are looked at; real ones hold two to four.
MAX_PACKETS = 32
#: Seconds between two reports of a stream: the least interval of RFC 3550 section 6.2, unrandomised because one
#: receiver reports.
INTERVAL = 5.0

_BLOCK = struct.Struct("!IIIIII")


@dataclass(frozen=True)
class SenderReport:
    """The clock pair of a sender (RFC 3550 section 6.4.1)."""

    # who sent it
    ssrc: int
    # NTP time, 64 bits of which the upper 32 are seconds
    ntp: int
    # the same instant as RTP timestamp
    timestamp: int


@dataclass(frozen=True)
class Report:
    """One reception report block."""

    # the source reported on
    ssrc: int
    # lost of 256 since the report before
    fraction: int
    # lost since the beginning
    lost: int
    # extended highest sequence number, 32 bits
    highest: int
    # interarrival jitter in timestamp units
    jitter: int
    # middle 32 bits of the last sender report's NTP time, 0 = none
    last_report: int
    # 1/65536 s since that report
    delay: int


def split(compound: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (packet type, packet) of a compound; Malformed if a length does not fit."""
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
    """Find the sender report of a compound; None if there is none, Malformed if it is no RTCP."""
    found = None
    for kind, packet in split(compound):
        if kind == SENDER_REPORT and len(packet) >= 28:
            ssrc, ntp, timestamp = struct.unpack_from("!IQI", packet, 4)
            found = SenderReport(ssrc, ntp, timestamp)
    return found


def told(compound: bytes) -> tuple[int, int] | None:
    """Give who sent a compound and how many packets it says it has sent: -1 without saying so, which is a sender that
    has been silent (RFC 3550 section 6.4) or leaves; None if neither.
    """
    found = None
    for kind, packet in split(compound):
        if kind == SENDER_REPORT and len(packet) >= 28:
            return int.from_bytes(packet[4:8], "big"), int.from_bytes(packet[20:24], "big")
        if kind in (RECEIVER_REPORT, BYE) and len(packet) >= 8:
            found = int.from_bytes(packet[4:8], "big"), -1
    return found


def receiver_report(own_ssrc: int, cname: bytes, report: Report | None) -> bytes:
    """Build RR and SDES CNAME; an RR without block says only that we are here."""
    block = b""
    if report is not None:
        lost = max(-0x800000, min(0x7FFFFF, report.lost)) & 0xFFFFFF
        block = _BLOCK.pack(
            report.ssrc,
            (report.fraction & 0xFF) << 24 | lost,
            report.highest & 0xFFFFFFFF,
            min(report.jitter, 0xFFFFFFFF),
            report.last_report,
            min(report.delay, 0xFFFFFFFF),
        )
    head = struct.pack("!BBHI", 0x80 | bool(block), RECEIVER_REPORT, 1 + len(block) // 4, own_ssrc)
    return head + block + _sdes(own_ssrc, cname)


def goodbye(own_ssrc: int) -> bytes:
    """Build the BYE that follows a last report."""
    return struct.pack("!BBHI", 0x81, BYE, 1, own_ssrc)


def _sdes(own_ssrc: int, cname: bytes) -> bytes:
    chunk = struct.pack("!IBB", own_ssrc, CNAME, len(cname)) + cname
    chunk += bytes(4 - len(chunk) % 4)
    return struct.pack("!BBH", 0x81, SDES, len(chunk) // 4) + chunk
