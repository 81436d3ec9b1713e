"""RTCP of one stream: what comes is checked and stored, what goes is a receiver report (RFC 3550 section 6)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from media import holes, records, rtcp, rtp
from media.batch import NEAR, Lane
from media.errors import Malformed
from media.spec import Address

if TYPE_CHECKING:
    from media.track import Track

SECOND = 1_000_000_000
#: What tells RTCP from RTP on a shared port; there are such bytes in strangers' packets too.
_SECOND_BYTE = re.compile(b"[%c-%c]" % (rtp.RTCP_SECOND_BYTES[0], rtp.RTCP_SECOND_BYTES[-1]))


def among(lane: Lane, count: int) -> list[int]:
    """Give the slots of the reports among what an RTP socket brought (RFC 5761); mostly there are none."""
    found = _SECOND_BYTE.finditer(bytes(lane.near[1 : count * NEAR : NEAR]))
    return [each.start() for each in found if rtp.is_rtcp(lane.packet(each.start()) or b"")]


def receive(track: Track, lane: Lane, count: int, out: list[bytes], *, own_port: bool = True) -> None:
    """Take the packets of the RTCP socket; `own_port` False: reports that came to the RTP port."""
    strange = track.foreign + track.rejected
    for slot in range(count):
        packet = lane.packet(slot)
        if packet is None:
            track.foreign += 1
        elif not rtp.is_rtcp(packet):
            track.stranger(own_port, lane, slot, packet)
        else:
            sender = track.sender(own_port, lane, slot)
            take(track, packet, sender, lane.arrival(slot), out, own_port=own_port)
    if track.foreign + track.rejected != strange:
        track.cold = None  # who was refused is counted; a report that was taken changes nothing a successor must know


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
