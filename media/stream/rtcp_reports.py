"""RTCP of one stream: what comes is checked and stored, what goes is a receiver report (RFC 3550 section 6)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from media.errors import Malformed
from media.receive.batch import NEAR, Lane
from media.records import record_format
from media.rtp import header, rtcp
from media.spec import Address

if TYPE_CHECKING:
    from media.stream.receiver import Track

SECOND = 1_000_000_000
#: What tells RTCP from RTP on a shared port; there are such bytes in strangers' packets too.
_SECOND_BYTE = re.compile(b"[%c-%c]" % (header.RTCP_SECOND_BYTES[0], header.RTCP_SECOND_BYTES[-1]))


def among(lane: Lane, count: int, usual: int = -1) -> list[int]:
    """Give the slots of the reports among what an RTP socket brought (RFC 5761); mostly there are none.

    `usual` is the payload type of before, -1 = none: where each packet has it there is nothing to look for.
    """
    seconds = bytes(lane.near[1 : count * NEAR : NEAR])
    if usual >= 0 and seconds.count(usual) == count:
        return []
    found = _SECOND_BYTE.finditer(seconds)
    return [each.start() for each in found if header.is_rtcp(lane.packet(each.start()) or b"")]


def receive(track: Track, lane: Lane, count: int, out: list[bytes], *, own_port: bool = True) -> None:
    """Take the packets of the RTCP socket; `own_port` False: reports that came to the RTP port."""
    strange = track.reception.foreign + track.reception.rejected
    for slot in range(count):
        packet = lane.packet(slot)
        if packet is None:
            track.reception.ignore()
        elif not header.is_rtcp(packet):
            track.stranger(own_port, lane, slot, packet)
        else:
            sender = None if track.keyring else track.sender(own_port, lane, slot)  # a key says more than an address
            take(track, packet, sender, lane.arrival(slot), out, own_port=own_port)
    if track.reception.foreign + track.reception.rejected != strange:
        track.cold = None  # who was refused is counted; a report that was taken changes nothing a successor must know


def take(
    track: Track, packet: bytes, address: Address | None, arrival: int, out: list[bytes], *, own_port: bool = False
) -> None:
    """Check, decrypt and store one RTCP compound; `own_port`: it did not come to the RTP port.

    `address` is only asked for where there is no key.
    """
    keyring = (track.control_keys if own_port else None) or track.keyring
    if keyring is not None:
        opened = keyring.open_rtcp(packet)
        if isinstance(opened, int):
            track.reception.reject()
            return
        packet = opened
    elif track.spec.dtls or address is None or not _admitted(track, address):
        track.reception.ignore()
        return
    try:
        sender, sent, middle = rtcp.heard(packet)
    except Malformed:
        track.reception.reject()
        return
    if sender >= 0:
        if sent < 0 or sent == track.sent:
            track.silent(sender, arrival)
        track.sent = sent
    if middle >= 0:
        track.sender_report = (middle, arrival)
        if not track.pauses.covers(arrival):
            out.append(record_format.rtcp(track.spec.stream, arrival, packet))


def _admitted(track: Track, address: Address) -> bool:
    return address[0] in track.latch.allowed or (track.latched is not None and address[0] == track.latched[0])


def report(track: Track, now: int, cname: bytes, more: bytes = b"") -> bytes | None:
    """Make the receiver report that is due (ns since the epoch); None before the first packet.

    `more` are RTCP packets that go along in the compound: a request for a picture, a BYE.
    """
    source = track.reception.current
    if source is None:
        return None
    expected, received = source.expected - source.excused, source.received
    before, had = track.report_base
    new, got = expected - before, received - had
    track.report_base = (expected, received)
    middle, arrived = track.sender_report
    fraction = min(255, max(0, new - got) * 256 // new) if new > 0 else 0
    delay = max(0, now - arrived) * 65536 // SECOND if middle else 0  # it may have come after the tick began
    jitter = int(track.reception.jitter / track.reception.unit)
    block = rtcp.block(source.ssrc, fraction, source.lost, source.highest, jitter, middle, delay)
    packet = rtcp.receiver_report(track.own_ssrc, cname, block) + more
    if track.outgoing is not None and (track.keyring is not None or track.spec.dtls is not None):
        track.reports += 1
        return track.outgoing.protect(packet)
    return packet if track.keyring is None and track.spec.dtls is None else None
