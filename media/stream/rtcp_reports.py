"""RTCP of one stream: what its sender reports, and the receiver reports that it gets (RFC 3550 section 6)."""

import re

from media.receive.batch import NEAR, Lane
from media.rtp import header, rtcp
from media.stream.reception import Reception

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


class RtcpReports:
    """What was told by RTCP, in both directions."""

    __slots__ = ("own_ssrc", "report_base", "sender_report", "sent")

    def __init__(self, own_ssrc: int) -> None:
        self.own_ssrc = own_ssrc
        #: Packets that the sender counted in its last report, None where it said nothing of that.
        self.sent: int | None = None
        #: (middle of NTP, arrival in ns) of the last sender report.
        self.sender_report: tuple[int, int] | None = None
        #: (expected, received) at the last report of ours.
        self.report_base = (0, 0)

    def take(self, packet: bytes, arrival: int) -> tuple[int | None, bool]:
        """Take a compound; give the SSRC of a sender that has sent nothing since its last report, if it is that, and
        whether the compound has a sender report. Malformed if it is no RTCP.
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
        """Make the receiver report that is due (ns since the epoch), in plain; None before the first packet.

        `more` are RTCP packets that go along in the compound: a request for a picture, a BYE.
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
        # one may have come after the tick began; without a middle a delay says nothing
        delay = max(0, now - arrived) * 65536 // SECOND if middle else 0
        jitter = int(reception.jitter / reception.unit)
        block = rtcp.block(source.ssrc, fraction, source.lost, source.highest, jitter, middle, delay)
        return rtcp.receiver_report(self.own_ssrc, cname, block) + more
