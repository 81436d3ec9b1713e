"""RTCP of one stream: its sender's reports, and the receiver reports that it gets (RFC 3550 section 6)."""

import re

from media.receive.batch import NEAR, Lane
from media.rtp import header, rtcp
from media.stream.reception import Reception

SECOND = 1_000_000_000
#: Distinguishes RTCP from RTP on a shared port; packets of strangers may have such bytes too.
_SECOND_BYTE = re.compile(b"[%c-%c]" % (header.RTCP_SECOND_BYTES[0], header.RTCP_SECOND_BYTES[-1]))


def among(lane: Lane, count: int, usual: int | None = None) -> list[int]:
    """Return the slots of reports among the packets of an RTP socket (RFC 5761); mostly there are none.

    `usual` is the previous payload type: if every packet has it, there is nothing to search.
    """
    seconds = bytes(lane.near[1 : count * NEAR : NEAR])
    if usual is not None and seconds.count(usual) == count:
        return []
    found = _SECOND_BYTE.finditer(seconds)
    return [each.start() for each in found if header.is_rtcp(lane.packet(each.start()) or b"")]


class RtcpReports:
    """What RTCP has reported, in both directions."""

    __slots__ = ("own_ssrc", "report_base", "sender_report", "sent")

    def __init__(self, own_ssrc: int) -> None:
        self.own_ssrc = own_ssrc
        #: Packets that the sender counted in its last report; None if it did not say.
        self.sent: int | None = None
        #: (middle of NTP, arrival in ns) of the last sender report.
        self.sender_report: tuple[int, int] | None = None
        #: (expected, received) in our last report.
        self.report_base = (0, 0)

    def take(self, packet: bytes, arrival: int) -> tuple[int | None, bool]:
        """Process a compound; return the SSRC of a sender that has sent nothing since its last report (or None), and
        whether the compound has a sender report. Raise Malformed if it is no RTCP.
        """
        sender, sent, middle = rtcp.heard(packet)
        silent = None
        if sender >= 0:
            silent = sender if sent < 0 or sent == self.sent else None
            self.sent = sent if sent >= 0 else None
        if middle >= 0:
            self.sender_report = middle, arrival
        return silent, middle >= 0

    def report(self, reception: Reception, now: int, cname: bytes, more: bytes = b"") -> bytes | None:
        """Write the receiver report that is due (ns since the epoch), unprotected; None before the first packet.

        `more` holds RTCP packets to add to the compound: a picture request, a BYE.
        """
        source = reception.current
        if source is None:
            return None
        expected, received = source.expected - source.excused, source.received
        before, had = self.report_base
        new, got = expected - before, received - had
        self.report_base = (expected, received)
        middle, arrived = self.sender_report or (0, now)
        fraction = min(255, max(0, new - got) * 256 // new) if new > 0 else 0
        # a sender report may have come after the tick began; without its NTP time a delay means nothing
        delay = max(0, now - arrived) * 65536 // SECOND if middle else 0
        jitter = int(reception.jitter / reception.unit)
        block = rtcp.block(source.ssrc, fraction, source.lost, source.highest, jitter, middle, delay)
        return rtcp.receiver_report(self.own_ssrc, cname, block) + more
