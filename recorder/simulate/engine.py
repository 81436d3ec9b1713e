"""The media process of a run: `python -m recorder.simulate.engine` sends what its standard input tells it to.

Commands are JSON, one a line: open, sound, add, on, off, drop, count. Each gets one JSON line back. Every stream sends
each 20 ms; streams are spread over ten slots of 2 ms. The clock never skips: after a stall the slots are made up for.
"""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from recorder.simulate import coded
from recorder.simulate.batch import Batch, Source, random_number, receiver, sender, socket_name
from recorder.simulate.plan import CODECS, TICK
from recorder.simulate.reports import heard, sender_report

SLOTS = 10
"""Parts of a tick: 2,000 streams go out in tenths of 200, not in one burst."""
REPORT_TICKS = 250
"""Five seconds between sender reports (RFC 3550 section 6.2)."""
LATE, VERY_LATE = 0.005, 0.020
_SOCKET_BUFFER = 4 << 20
_TRIES = 200
"""Attempts to find two neighbouring ports that are free."""
_PRIORITY = -10
"""Nice value where allowed: a late generator proves nothing."""

Words = dict[str, Any]


class Stream:
    """One stream of a call: what it sends and what it has heard about it."""

    def __init__(self, words: Words, sounds: dict[int, list[bytes]]) -> None:
        pt, _, _, step = CODECS[words["codec"]]
        self.lane: int = words["lane"]
        self.slot: int = words["id"] // 2 % SLOTS
        key, peer = bytes.fromhex(words["key"]), bytes.fromhex(words["peer_key"])
        mask = 0 if words["sound"] else coded.stream_mask(words["codec"], words["run"], words["call"], words["stream"])
        frames = sounds[words["sound"]] if words["sound"] else ()
        name = socket_name(words["host"], words["port"])
        session = sender(words["suite"], key)
        start = random_number(15)
        self.source = Source(name, words["ssrc"], pt, start, random_number(32), step, session, mask, frames)
        self.reports_to: tuple[str, int] = (words["host"], words["rtcp_port"])
        self.opener = receiver(words["suite"], peer)
        self.sent: list[list[int]] = []
        self.octets = len(frames[0]) if frames else coded.SAMPLES
        self.heard: Words = {"reports": 0, "unreadable": 0, "lost": 0, "fraction": 0, "jitter": 0}

    def packets(self, tick: int) -> int:
        """Count the packets sent before a tick."""
        return sum((tick if end is None else end) - begin for begin, end in self.sent)

    def on(self, tick: int) -> None:
        """Begin with this tick; the sequence goes on where it stopped, the timestamp follows the clock."""
        if not self.sending:
            if self.sent:
                self.source.sequence -= tick - self.sent[-1][1]
            else:
                self.source.sequence -= tick
            self.sent.append([tick, None])  # type: ignore[list-item]  # None until it stops

    def off(self, tick: int) -> None:
        """Stop before this tick."""
        if self.sending:
            self.sent[-1][1] = tick

    @property
    def sending(self) -> bool:
        """Whether packets go out."""
        return bool(self.sent) and self.sent[-1][1] is None

    def report(self, tick: int, now: float, *, leaving: bool = False) -> bytes:
        """Build and protect a sender report."""
        packets = self.packets(tick)
        at = self.source.timestamp + tick * self.source.step
        plain = sender_report(self.source.ssrc, now, at, packets, packets * self.octets, leaving=leaving)
        return self.source.session.protect_rtcp(plain) if self.source.session else plain


class Engine:
    """Sockets, streams and the clock."""

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self.by_ssrc: dict[int, Stream] = {}
        self.sounds: dict[int, list[bytes]] = {}
        self.lanes: list[tuple[socket.socket, socket.socket]] = []
        self.batches: list[list[Batch]] = []
        self.dirty: set[tuple[int, int]] = set()
        self.tick = 0
        self.figures = {"slots": 0, "late_5ms": 0, "late_20ms": 0, "latest_us": 0}

    # --- commands ---
    def open(self, words: Words) -> Words:
        """Open a pair of ports a lane; give the RTP ports."""
        for _ in range(words["lanes"]):
            self.lanes.append(_pair(words["address"]))
            self.batches.append([Batch(self.lanes[-1][0].fileno()) for _ in range(SLOTS)])
        return {"ports": [rtp.getsockname()[1] for rtp, _ in self.lanes]}

    def sound(self, words: Words) -> Words:
        """Take the encoded frames of a voice."""
        self.sounds[words["id"]] = [bytes.fromhex(frame) for frame in words["frames"]]
        return {}

    def add(self, words: Words) -> Words:
        """Add silent streams."""
        for each in words["streams"]:
            self.streams[each["id"]] = self.by_ssrc[each["ssrc"]] = Stream(each, self.sounds)
        return {}

    def on(self, words: Words) -> Words:
        """Let streams send from the next tick on."""
        for stream in self._named(words):
            stream.on(self.tick + 1)
        return {"tick": self.tick + 1}

    def off(self, words: Words) -> Words:
        """Stop streams after the tick that is being sent."""
        for stream in self._named(words):
            stream.off(self.tick + 1)
        return {"tick": self.tick + 1}

    def drop(self, words: Words) -> Words:
        """Stop streams, say goodbye, give what they did and forget them."""
        reply = {}
        for number, stream in zip(words["ids"], list(self._named(words)), strict=True):
            stream.off(self.tick + 1)
            self._report(stream, leaving=True)
            reply[number] = {"sent": stream.sent, **stream.heard}
            del self.streams[number], self.by_ssrc[stream.source.ssrc]
        return {"streams": reply}

    def count(self, words: Words) -> Words:
        """Give the figures of the whole process."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        errors = sum(batch.errors for lane in self.batches for batch in lane)
        packets = sum(stream.packets(self.tick) for stream in self.streams.values())
        return {**self.figures, "cpu": usage.ru_utime + usage.ru_stime, "errors": errors, "packets": packets, "tick": self.tick}

    def _named(self, words: Words) -> Iterable[Stream]:
        for number in words["ids"]:
            stream = self.streams[number]
            self.dirty.add((stream.lane, stream.slot))
            yield stream

    # --- the clock ---
    def send(self, slot: int, frame: int) -> None:
        """Send what is due in one slot of the current tick."""
        for lane, batches in enumerate(self.batches):
            if slot == 0 or (lane, slot) in self.dirty:
                pass
            batch = batches[slot]
            if len(batch):
                batch.send(self.tick, frame)

    def arrange(self) -> None:
        """Lay out anew what changed; once a tick, so that all slots of a tick agree on who sends."""
        for lane, slot in self.dirty:
            live = (s for s in self.streams.values() if s.lane == lane and s.slot == slot)
            self.batches[lane][slot].arrange(s.source for s in live if s.sending)
        self.dirty.clear()

    def report(self) -> None:
        """Send the sender reports of this tick."""
        for number, stream in self.streams.items():
            if stream.sending and (number + self.tick) % REPORT_TICKS == 0:
                self._report(stream)

    def _report(self, stream: Stream, *, leaving: bool = False) -> None:
        rtp, rtcp = self.lanes[stream.lane]
        mux = stream.reports_to[1] == int.from_bytes(stream.source.name[2:4], "big")
        try:
            (rtp if mux else rtcp).sendto(stream.report(self.tick, time.time(), leaving=leaving), stream.reports_to)
        except OSError:
            stream.heard["unreadable"] += 0  # a closed port is no fault of the audio

    def listen(self) -> None:
        """Read what the recorder reports about our streams."""
        for pair in self.lanes:
            for each in pair:
                for packet in _waiting(each):
                    self._hear(packet)

    def _hear(self, packet: bytes) -> None:
        """Open a report; the streams it may be about are tried by the SSRC inside, which SRTCP hides."""
        for stream in self._about(packet):
            for block in heard(packet if stream.opener is None else _opened(stream, packet)):
                target = self.by_ssrc.get(block.ssrc)
                if target is not None:
                    target.heard["reports"] += 1
                    target.heard |= {"lost": block.lost, "fraction": block.fraction, "jitter": block.jitter}
