"""One stream of a call in the media process: when and what it sent, and what was reported about it."""

from __future__ import annotations

from typing import Any

from pylibsrtp import Error

from recorder.simulate import coded
from recorder.simulate.batch import Source, random_number, receiver, sender, socket_name
from recorder.simulate.plan import CODECS, DTLS, VIDEO
from recorder.simulate.rtcp import heard, sender_report

SLOTS = 10
"""Parts of a tick: 2,000 streams are sent in ten portions of 200, not in one burst."""

MARKER = 0x80
"""Ends a picture (RFC 7741 section 4.1); each packet is one."""

Words = dict[str, Any]


class Outgoing:
    """What one stream sends; times are in ticks of the process."""

    def __init__(self, words: Words, sounds: dict[int, list[bytes]]) -> None:
        codec = CODECS[words["codec"]]
        payload_type = codec.format.payload_type
        self.lane: int = words["lane"]
        self.slot: int = words["id"] // 2 % SLOTS
        sound = words["sound"]
        suite = None if words["suite"] == DTLS else words["suite"]
        mask = 0 if sound else coded.stream_mask(words["codec"], words["run"], words["call"], words["stream"])
        frames = sounds[sound] if sound else ()
        self.source = Source(
            name=socket_name(words["host"], words["port"]),
            ssrc=words["ssrc"],
            payload_type=payload_type | MARKER if words["codec"] == VIDEO else payload_type,
            sequence=random_number(15),
            timestamp=random_number(32),
            step=codec.step,
            session=sender(suite, bytes.fromhex(words["key"])),
            mask=mask,
            frames=frames,
        )
        self.mux: bool = words["rtcp_port"] == words["port"]
        self.reports_to: tuple[str, int] = (words["host"], words["rtcp_port"])
        self.sent: list[tuple[int, int]] = []
        self.began: int | None = None
        self.figures = {"reports": 0, "unreadable": 0, "lost": 0, "fraction": 0, "jitter": 0}
        self._reporter = self.source.session
        self._opener = receiver(suite, bytes.fromhex(words["peer_key"]))
        self._octets = len(frames[0]) if frames else coded.SAMPLES

    def keyed(self, rtp: tuple[str, bytes], rtcp: tuple[str, bytes, bytes]) -> None:
        """Store the result of a handshake: suite and own key of the audio; suite, own and peer's key of the reports."""
        self.source.protect_by(sender(*rtp))
        self._reporter = self.source.session if self.mux else sender(rtcp[0], rtcp[1])
        self._opener = receiver(rtcp[0], rtcp[2])

    def packets(self, tick: int) -> int:
        """Count the packets sent before a tick."""
        return sum(end - begin for begin, end in self.sent) + (tick - self.began if self.began is not None else 0)

    def on(self, tick: int) -> None:
        """Start with this tick; the sequence continues where it stopped, the timestamp follows the clock."""
        if self.began is None:
            self.source.skip(tick - (self.sent[-1][1] if self.sent else 0))
            if not self.sent:
                self.source.first = tick
            self.began = tick

    def off(self, tick: int) -> None:
        """Stop before this tick."""
        if self.began is not None:
            self.sent.append((self.began, max(tick, self.began)))
            self.began = None

    def report(self, tick: int, now: float, *, leaving: bool = False) -> bytes:
        """Build and protect a sender report; `now` in seconds since 1970."""
        packets = self.packets(tick)
        at = self.source.timestamp + tick * self.source.step
        plain = sender_report(self.source.ssrc, now, at, packets, packets * self._octets, leaving=leaving)
        return bytes(self._reporter.protect_rtcp(plain)) if self._reporter else plain

    def hear(self, packet: bytes) -> None:
        """Take a packet from the recorder's port of this stream."""
        if self._opener is not None:
            try:
                packet = self._opener.unprotect_rtcp(packet)
            except (Error, ValueError):
                self.figures["unreadable"] += 1
                return
        for block in heard(packet):
            if block.ssrc == self.source.ssrc:
                self.figures |= {"lost": block.lost, "fraction": block.fraction, "jitter": block.jitter}
                self.figures["reports"] += 1
