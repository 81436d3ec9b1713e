"""Assemble the sound: channels that are written at any position, returned in order and interleaved."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

FLUSH = 1 << 16  # samples per channel returned at once
HELD = 64 << 20  # bytes held for all channels; beyond, the oldest is returned and anything too late for it is dropped
MAX_GAPS = 10_000  # gaps listed per channel


@dataclass(slots=True)
class Channel:
    """One channel."""

    pcm: bytearray = field(default_factory=bytearray)
    # 16-bit samples from the mixer's `base` on
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


class PcmMixer:
    """Place 16-bit mono pieces on channels and return interleaved sound."""

    def __init__(self, channels: int, give: Callable[[bytes | bytearray], object]) -> None:
        self.channels = [Channel() for _ in range(channels)]
        self.base = 0
        # first sample that was not returned yet
        self._give = give
        self._most = HELD // channels // 2

    def write(self, number: int, position: int, pcm: bytes | bytearray, owner: int) -> None:
        """Write a piece at `position` of a channel. A source never overwrites itself; two sources at once are mixed."""
        channel = self.channels[number]
        samples = len(pcm) // 2
        if not samples:
            return
        if position + samples - self.base > self._most:
            self.flush(position)
        if position < self.base:
            cut = min(self.base - position, samples)
            channel.dropped += cut
            pcm, position, samples = pcm[2 * cut :], position + cut, samples - cut
        if position > channel.end and len(channel.gaps) < MAX_GAPS:
            channel.gaps.append((channel.end, position))
        channel.sound += samples
        channel.end = max(channel.end, position + samples)
        self._lay(channel, 2 * (position - self.base), pcm, owner)
        channel.owner = owner

    @staticmethod
    def _lay(channel: Channel, start: int, pcm: bytes | bytearray, owner: int) -> None:
        held = channel.pcm
        if start >= len(held):
            held.extend(bytes(start - len(held)))
            held += pcm
            return
        over = min(len(held) - start, len(pcm))
        there = held[start : start + over]
        if there.count(0) == over:
            held[start : start + over] = pcm[:over]
        elif owner != channel.owner:
            held[start : start + over] = mix(there, pcm[:over])
        held += pcm[over:]

    def flush(self, upto: int) -> None:
        """Return everything before sample `upto`, with silence where nothing was written."""
        while self.base < upto:
            count = min(upto - self.base, FLUSH)
            self._give(self._interleave(2 * count))
            self.base += count

    def _interleave(self, size: int) -> bytes | bytearray:
        """Remove `size` bytes from each channel; four strided copies per pair are the fastest way in pure Python."""
        width = 2 * len(self.channels)
        out = bytearray(size * len(self.channels))
        for number, channel in enumerate(self.channels):
            taken = channel.pcm[:size]
            del channel.pcm[:size]
            if not taken:
                continue
            stop = len(taken) * len(self.channels)
            out[2 * number : stop : width] = taken[0::2]
            out[2 * number + 1 : stop : width] = taken[1::2]
        return out


def mix(one: bytes | bytearray, other: bytes | bytearray) -> bytes:
    """Add two pieces of equal length, clipped to 16 bits; rare, so sample by sample."""
    a, b = array("h", bytes(one)), array("h", bytes(other))
    return array("h", [max(-32768, min(32767, x + y)) for x, y in zip(a, b, strict=True)]).tobytes()
