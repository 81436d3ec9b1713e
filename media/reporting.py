"""RTCP of one stream: what comes is checked and stored, what goes is a receiver report (RFC 3550 section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media import holes, records, rtcp, rtp
from media.batch import Lane
from media.errors import Malformed
from media.spec import Address

if TYPE_CHECKING:
    from media.track import Track

SECOND = 1_000_000_000


def receive(track: Track, lane: Lane, count: int, out: list[bytes]) -> None:
    """Take the packets of the RTCP socket."""
    track.cold = None  # whoever sent them is counted
    for slot in range(count):
        packet = lane.packet(slot)
        if packet is None:
            track.foreign += 1
        elif not rtp.is_rtcp(packet):
            track.stranger(True, lane, slot, packet)
        else:
            take(track, packet, lane.address(slot), lane.arrival(slot), out, own_port=True)


def take(
    track: Track, packet: bytes, address: Address, arrival: int, out: list[bytes], *, own_port: bool = False
) -> None:
    """Check, decrypt and store one RTCP compound; `own_port`: it did not come to the RTP port."""
    keyring = (track.control_keys if own_port else None) or track.keyring
    if keyring is not None:
        opened = keyring.open_rtcp(packet)
        if isinstance(opened, int):
            track.rejected += 1
            return
        packet = opened
    elif track.spec.dtls or (
        address[0] not in track.allowed and (track.latched is None or address[0] != track.latched[0])
    ):
        track.foreign += 1
        return
    try:
        report, told = rtcp.sender_report(packet), rtcp.told(packet)
    except Malformed:
        track.rejected += 1
        return
    if told is not None:
        if told[1] < 0 or told[1] == track.sent:
            holes.silent(track, told[0], arrival)
        track.sent = told[1]
    if report is not None:
        track.sender_report = (report.ntp >> 16 & 0xFFFFFFFF, arrival)
        if not track.pauses.covers(arrival):
            out.append(records.rtcp(track.spec.stream, arrival, packet))


def report(track: Track, now: int, cname: bytes, more: bytes = b"") -> bytes | None:
    """Make the receiver report that is due (ns since the epoch); None before the first packet.

    `more` are RTCP packets that go along in the compound: a request for a picture, a BYE.
    """
    source = track.current
    if source is None:
        return None
    expected, received = source.expected - source.excused, source.received
    new, got = expected - track.report_base[0], received - track.report_base[1]
    track.report_base = (expected, received)
    middle, arrived = track.sender_report
    block = rtcp.Report(
        ssrc=source.ssrc,
        fraction=min(255, max(0, new - got) * 256 // new) if new > 0 else 0,
        lost=source.lost,
        highest=source.highest,
        jitter=int(track.jitter / track.unit),
        last_report=middle,
        delay=max(0, now - arrived) * 65536 // SECOND if middle else 0,  # it may have come after the tick began
    )
    packet = rtcp.receiver_report(track.own_ssrc, cname, block) + more
    if track.keyring is None and track.spec.dtls is None:
        return packet
    if track.outgoing is None:
        return None
    track.reports += 1
    return track.outgoing.protect(packet)
