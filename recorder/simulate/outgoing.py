"""One stream of a call in the media process: when and what it sent, and what was reported about it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from aiortc import RTCCertificate
from aiortc.clock import datetime_to_ntp
from aiortc.rtp import (
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPacket,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
    RtpPacket,
)
from pylibsrtp import Error

from recorder.simulate import coded
from recorder.simulate.batch import Source, random_number, socket_name
from recorder.simulate.flow import Flow
from recorder.simulate.plan import CODECS, DTLS, VIDEO
from recorder.simulate.sounds import Coder

SLOTS = 10
"""Parts of a tick: 2,000 streams are sent in ten portions of 200, not in one burst."""
_CNAME = 1
"""Item of a source description (RFC 3550 section 6.5.1)."""

Words = dict[str, Any]


class Outgoing:
    """What one stream sends; times are in ticks of the process."""

    def __init__(self, words: Words, sounds: dict[int, list[bytes]], rtp: Flow, rtcp: Flow) -> None:
        codec = CODECS[words["codec"]]
        self.lane: int = words["lane"]
        self.slot: int = words["id"] // 2 % SLOTS
        self.batched: bool = words.get("batched", True)
        """Whether its packets are built and sent with those of others."""
        self.rtp, self.rtcp = rtp, rtcp
        self._who = words["run"], words["call"], words["stream"]
        self._coder = Coder(words["codec"]) if not words["sound"] and not self.batched else None
        if words["suite"] not in (None, DTLS):
            for flow in {rtp, rtcp}:
                flow.key(words["suite"], bytes.fromhex(words["key"]), bytes.fromhex(words["peer_key"]))
        frames = sounds[words["sound"]] if words["sound"] else ()
        self.source = Source(
            name=socket_name(*rtp.name),
            ssrc=words["ssrc"],
            payload_type=codec.payload_type,
            marker=words["codec"] in VIDEO,
            sequence=random_number(15),
            timestamp=random_number(32),
            step=codec.step,
            session=rtp.outbound,
            mask=0 if words["sound"] else coded.stream_mask(words["codec"], *self._who),
            frames=frames,
        )
        self.sent: list[tuple[int, int]] = []
        self.began: int | None = None
        self.figures = dict.fromkeys(("reports", "unreadable", "foreign", "lost", "fraction", "jitter"), 0)
        self._octets = len(frames[0]) if frames else coded.SAMPLES

    async def agree(self, own: RTCCertificate, words: Words) -> str | None:
        """Make the keys of DTLS-SRTP; return why there are none."""
        flows = {self.rtp, self.rtcp}
        made = await asyncio.gather(*(each.agree(own, words["fingerprints"], active=words["active"]) for each in flows))
        self.source.session = self.rtp.outbound
        return next(filter(None, made), None)

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

    async def send(self, tick: int) -> None:
        """Build, protect and send the packet of a tick by aiortc; raise OSError or pylibsrtp.Error."""
        source = self.source
        packet = RtpPacket(
            source.payload_type, source.marker, tick + source.sequence & 0xFFFF,
            source.timestamp + tick * source.step & 0xFFFFFFFF, source.ssrc, self._payload(tick),
        ).serialize()  # fmt: skip
        await self.rtp.send(source.session.protect(packet) if source.session else packet)

    def _payload(self, tick: int) -> bytes:
        if self._coder is not None:
            return self._coder.encode(coded.samples(self._coder.codec, *self._who, tick))
        return self.source.frames[(tick - self.source.first) % len(self.source.frames)]

    def report(self, tick: int, now: float, *, leaving: bool = False) -> bytes:
        """Build and protect a sender report (RFC 3550 section 6.4.1), with BYE when `leaving`; `now`: Unix time."""
        source, packets = self.source, self.packets(tick)
        info = RtcpSenderInfo(
            datetime_to_ntp(datetime.fromtimestamp(now, UTC)), source.timestamp + tick * source.step & 0xFFFFFFFF,
            packets & 0xFFFFFFFF, packets * self._octets & 0xFFFFFFFF,
        )  # fmt: skip
        name = f"{source.ssrc:08x}@recorder.simulate".encode()
        parts: list[AnyRtcpPacket] = [RtcpSrPacket(source.ssrc, info)]
        parts.append(RtcpSdesPacket([RtcpSourceInfo(source.ssrc, [(_CNAME, name)])]))
        plain = b"".join(map(bytes, [*parts, RtcpByePacket([source.ssrc])] if leaving else parts))
        return self.rtcp.outbound.protect_rtcp(plain) if self.rtcp.outbound else plain

    def hear(self, packet: bytes) -> None:
        """Take a packet that came from the recorder's port of this stream."""
        try:
            parts = RtcpPacket.parse(self.rtcp.read(packet))
        except (Error, ValueError):
            self.figures["unreadable"] += 1
            return
        for block in (
            block for part in parts if isinstance(part, RtcpRrPacket | RtcpSrPacket) for block in part.reports
        ):
            if block.ssrc != self.source.ssrc:
                self.figures["foreign"] += 1
                continue
            self.figures |= {"lost": block.packets_lost, "fraction": block.fraction_lost, "jitter": block.jitter}
            self.figures["reports"] += 1
