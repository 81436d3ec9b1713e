"""What a call's streams report: RTCP to the client (receiver reports, picture requests, BYE), and counters to main."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from media.receive.batch import address
from media.receive.sockets import send
from media.rtp.rtcp import INTERVAL, goodbye
from media.spec import StreamSpec, pack_ip
from media.stream.receiver import ReceivedStream
from media.stream.rtcp_feedback import Pictures
from recorder.workers.messages import Counts
from recorder.workers.stream_sockets import StreamSockets

CNAME = b"recorder"
"""Our canonical name (RFC 3550 section 6.5.1); it reveals nothing about us."""
PAUSE_NS = int(INTERVAL * 1e9)
"""Seconds between two reads of the RTCP sockets, and between two receiver reports."""


class Reports:
    """When to report, and how."""

    __slots__ = ("_next", "_pictures", "_random")

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        #: When the next reports are due; random, to spread the calls.
        self._next = 0
        #: Streams whose offer accepts picture requests, if there are any.
        self._pictures: dict[int, Pictures] | None = None

    def watch(self, spec: StreamSpec) -> None:
        """Request pictures for a stream whose offer accepts such requests."""
        if spec.feedback:
            self._pictures = self._pictures or {}
            self._pictures.setdefault(spec.stream, Pictures())

    def due(self, now: int) -> bool:
        """Tell whether reports are due (ns since the epoch)."""
        return now >= self._next

    def send(self, sockets: Iterable[StreamSockets], now: int) -> None:
        """Send a receiver report for every stream; the first call only picks the time for them."""
        first = not self._next
        self._next = now + (int.from_bytes(self._random(4), "big") % PAUSE_NS if first else PAUSE_NS)
        if first:
            return
        for each in sockets:
            if each.stream.srtp.keyring:
                each.stream.srtp.keyring.expire(now)
            if not each.stream.spec.held:
                _send(each, now)

    def ask(self, sockets: dict[int, StreamSockets], now: int) -> None:
        """Request the pictures that are wanted."""
        if self._pictures is None:
            return
        for number, pictures in self._pictures.items():
            request = pictures.wanted(sockets[number].stream, now)
            if request is not None:
                _send(sockets[number], now, request)


def counts(stream: ReceivedStream) -> Counts:
    """Return the counters of a stream, for main."""
    heard = stream.reception
    return Counts(
        stream.spec.stream, heard.packets, heard.totals()[0], heard.duplicates, heard.rejected, heard.foreign,
        heard.late, -(-stream.gaps.missing_ns // 1_000_000), heard.size, heard.last_arrival,
    )  # fmt: skip


def leave(sockets: StreamSockets, now: int) -> None:
    """Send the last report of a stream, with BYE (RFC 3550 section 6.6)."""
    _send(sockets, now, goodbye(sockets.stream.rtcp.own_ssrc))


def _came(stream: ReceivedStream, target: tuple[str, int], mux: bool) -> bool:
    """Tell whether packets of the stream came from the host that its reports go to; an offer may name any host."""
    return (mux and stream.latch.connected) or bool(
        stream.latch.name and address(stream.latch.name)[0] == pack_ip(target[0])
    )


def _send(sockets: StreamSockets, now: int, more: bytes = b"") -> None:
    stream = sockets.stream
    spec = stream.spec
    target, mux = spec.rtcp_source, spec.rtcp_mux
    descriptor = sockets.rtp if mux else sockets.rtcp
    if target is None or descriptor < 0 or not (spec.known or _came(stream, target, mux)):
        return
    packet = stream.report(now, CNAME, more)
    if packet is not None:
        try:  # contextlib.suppress costs a microsecond
            send(descriptor, packet, target, stream.latch.connected and mux, spec.here)
        except OSError:  # the peer may not be listening
            pass
