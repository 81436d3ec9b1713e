"""Ask for pictures of a video stream: at its start and after a loss (RFC 4585, RFC 5104, RFC 7866 section 8.1.7).

A decoder can only start with a full picture, and an encoder sends one on request. We only send requests that the offer
accepts: FIR at the start of the stream, when nothing can be decoded yet; PLI when packets are missing.
"""

import struct

from media.stream.receiver import ReceivedStream

PAYLOAD_SPECIFIC = 206
"""RTCP packet type of both (RFC 4585 section 6.1)."""
PLI, FIR = "pli", "fir"
PAUSE_NS = 2_000_000_000
"""ns between two requests: a picture takes a round trip and encoding, and each one uses the caller's bandwidth."""


def pli(own_ssrc: int, ssrc: int) -> bytes:
    """Write a picture loss indication (RFC 4585 section 6.3.1)."""
    return struct.pack("!BBHII", 0x81, PAYLOAD_SPECIFIC, 2, own_ssrc, ssrc)


def fir(own_ssrc: int, ssrc: int, number: int) -> bytes:
    """Write a full intra request (RFC 5104 section 4.3.1); `number` rises with each new request."""
    return struct.pack("!BBHIIIB3x", 0x84, PAYLOAD_SPECIFIC, 4, own_ssrc, 0, ssrc, number & 0xFF)


class Pictures:
    """Decides when to ask, for one stream."""

    __slots__ = ("_asked", "_lost", "_number", "_ssrc")

    def __init__(self) -> None:
        self._ssrc: int | None = None
        self._lost = 0
        self._asked = 0
        self._number: int | None = None

    def wanted(self, stream: ReceivedStream, now: int) -> bytes | None:
        """Return the request that is due (ns since the epoch); None if none is."""
        source, words = stream.reception.current, stream.spec.feedback
        if source is None or not words or stream.spec.held or now - self._asked < PAUSE_NS:
            return None
        lost, fresh = stream.reception.totals()[0], source.ssrc != self._ssrc
        if not fresh and lost <= self._lost:
            self._lost = lost  # a late packet that did arrive is no reason to ask
            return None
        self._ssrc, self._lost, self._asked = source.ssrc, lost, now
        if FIR in words and (fresh or PLI not in words):
            # Numbers start from the clock: a restarted worker must not repeat one, which would ask for nothing.
            self._number = now // PAUSE_NS if self._number is None else self._number + 1
            return fir(stream.rtcp.own_ssrc, source.ssrc, self._number)
        return pli(stream.rtcp.own_ssrc, source.ssrc)
