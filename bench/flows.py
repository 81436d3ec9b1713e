"""The packets of one stream as clients send them, for each codec, ready to be encrypted."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from media.rtp import header

SSRC = 0x1234
"""The SSRC of every stream, so that each packet is encrypted once and sent to all of them."""


@dataclass(frozen=True)
class Flow:
    """One codec as an SBC sends it."""

    name: str
    payload_type: int
    encoding: str
    clock: int
    pace: float
    """Seconds from one group of packets to the next."""
    step: int
    """Timestamp units from group to group."""
    sizes: Callable[[random.Random], list[int]]
    """Payload bytes of the packets of one group: a frame of video has several."""
    streams: int = 2
    """Streams of a call."""

    @property
    def payloads(self) -> tuple[tuple[int, str, int], ...]:
        """Return the codec in the form of a stream's description."""
        return ((self.payload_type, self.encoding, self.clock),)

    def groups(self, seconds: float) -> Iterator[list[bytes]]:
        """Yield the packets of one stream in groups; the last packet of a video frame has the marker bit."""
        dice, number = random.Random(1), 0
        for group in range(int(seconds / self.pace)):
            sizes, packets = self.sizes(dice), []
            for left, size in zip(range(len(sizes), 0, -1), sizes, strict=True):
                number += 1
                packet = header.build(self.payload_type, number, (group + 1) * self.step, SSRC, os.urandom(size))
                marked = left == 1 and len(sizes) > 1
                packets.append(packet[:1] + bytes([packet[1] | 0x80]) + packet[2:] if marked else packet)
            yield packets


def _always(size: int) -> Callable[[random.Random], list[int]]:
    return lambda _: [size]


def _frame(dice: random.Random) -> list[int]:
    """Return the packet sizes of 10,000 bytes of H.264, plus or minus a fifth, at most 1,250 each (RFC 6184, 5.8)."""
    size = dice.randint(8_000, 12_000)
    return [1_250] * (size // 1_250) + [size % 1_250 or 1]


FLOWS = {
    flow.name: flow
    for flow in (
        Flow("G.711", 8, "PCMA", 8_000, 0.02, 160, _always(160)),
        Flow("G.722", 9, "G722", 8_000, 0.02, 160, _always(160)),
        Flow("G.729", 18, "G729", 8_000, 0.02, 160, _always(20)),
        # 24 kbit/s of speech with variable rate (RFC 6716 section 2.1.8)
        Flow("Opus", 111, "opus", 48_000, 0.02, 960, lambda dice: [dice.randint(45, 75)]),
        # 12.2 kbit/s, octet-aligned: mode request, table of contents, 31 bytes (RFC 4867 section 4.4)
        Flow("AMR", 97, "AMR", 8_000, 0.02, 160, _always(33)),
        Flow("H.264", 96, "H264", 90_000, 0.04, 3_600, _frame, streams=1),
    )
}
