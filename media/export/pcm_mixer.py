"""Assemble the sound: one lane per channel, written at any position, returned in order and interleaved."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

FLUSH = 1 << 16  # samples per channel returned at once
HELD = 64 << 20  # bytes held for all channels; beyond, the oldest is returned and anything too late for it is dropped
MAX_GAPS = 10_000  # gaps listed per channel


@dataclass(slots=True)
class Lane:
    """One channel."""

    pcm: bytearray = field(default_factory=bytearray)
    # 16-bit samples from the canvas' start on
    owner: int = -1
    # source of the last write
    end: int = 0
    # one past the last sample written so far
    sound: int = 0
    # samples written so far
    gaps: list[tuple[int, int]] = field(default_factory=list)
    # (from, to) in samples without sound, before `end`
    dropped: int = 0
    # samples that came too late to be placed


class Canvas:
    """Place 16-bit mono pieces on channels and return interleaved sound."""

    def __init__(self, channels: int, give: Callable[[bytes | bytearray], object]) -> None:
        self.lanes = [Lane() for _ in range(channels)]
        self.base = 0
        # first sample that was not returned yet
        self._give = give
        self._most = HELD // channels // 2

    def write(self, channel: int, position: int, pcm: bytes | bytearray, owner: int) -> None:
        """Write a piece at `position`. A source never overwrites itself; two sources at once are mixed."""
        lane = self.lanes[channel]
        samples = len(pcm) // 2
        if not samples:
            return
        if position + samples - self.base > self._most:
            self.flush(position)
        if position < self.base:
            cut = min(self.base - position, samples)
            lane.dropped += cut
            pcm, position, samples = pcm[2 * cut :], position + cut, samples - cut
        if position > lane.end and len(lane.gaps) < MAX_GAPS:
            lane.gaps.append((lane.end, position))
        lane.sound += samples
        lane.end = max(lane.end, position + samples)
        self._lay(lane, 2 * (position - self.base), pcm, owner)
        lane.owner = owner

    @staticmethod
    def _lay(lane: Lane, start: int, pcm: bytes | bytearray, owner: int) -> None:
        held = lane.pcm
        if start >= len(held):
            held.extend(bytes(start - len(held)))
            held += pcm
            return
        over = min(len(held) - start, len(pcm))
        there = held[start : start + over]
        if there.count(0) == over:
            held[start : start + over] = pcm[:over]
        elif owner != lane.owner:
            held[start : start + over] = mix(there, pcm[:over])
        held += pcm[over:]

    def flush(self, upto: int) -> None:
        """Return everything before sample `upto`, with silence where nothing was written."""
        while self.base < upto:
            count = min(upto - self.base, FLUSH)
            self._give(self._interleave(2 * count))
            self.base += count

    def _interleave(self, size: int) -> bytes | bytearray:
        """Remove `size` bytes from each lane; four strided copies per pair are the fastest way in pure Python."""
        width = 2 * len(self.lanes)
        out = bytearray(size * len(self.lanes))
        for channel, lane in enumerate(self.lanes):
            taken = lane.pcm[:size]
            del lane.pcm[:size]
            if not taken:
                continue
            stop = len(taken) * len(self.lanes)
            out[2 * channel : stop : width] = taken[0::2]
            out[2 * channel + 1 : stop : width] = taken[1::2]
        return out


def mix(one: bytes | bytearray, other: bytes | bytearray) -> bytes:
    """Add two pieces of equal length, clipped to 16 bits; rare, so sample by sample."""
    a, b = array("h", bytes(one)), array("h", bytes(other))
    return array("h", [max(-32768, min(32767, x + y)) for x, y in zip(a, b, strict=True)]).tobytes()
