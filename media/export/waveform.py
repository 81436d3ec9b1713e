"""Compute a waveform: one peak per channel for each of equal stretches of a call."""

from __future__ import annotations

from array import array

POINTS = 2000
"""Stretches of a call: about the pixels of a wide screen."""
LOOKED_AT = 512
"""Samples per stretch that are examined: more take time and do not change a picture of speech."""
FULL = 32768  # magnitude of the loudest sample


class Peaks:
    """Collects interleaved 16-bit PCM in order, as `media.export.render` returns it."""

    def __init__(self, channels: int, samples: int, points: int = POINTS) -> None:
        """`samples`: length per channel."""
        self._channels = channels
        self._stretch = max(-(-samples // points), 1)
        self._step = max(self._stretch // LOOKED_AT, 1)
        self._at = 0
        # samples per channel taken so far
        self._found = [[0] * -(-samples // self._stretch) for _ in range(channels)]

    def give(self, pcm: bytes | bytearray) -> None:
        """Process the next samples; ignore those beyond the length."""
        pieces = array("h", bytes(pcm))
        count = len(pieces) // self._channels
        for channel, found in enumerate(self._found):
            samples = pieces[channel :: self._channels]
            begin = 0
            while begin < count:
                number = (self._at + begin) // self._stretch
                end = min((number + 1) * self._stretch - self._at, count)
                if number < len(found):
                    seen = samples[begin : end : self._step]
                    found[number] = max(found[number], max(seen), -min(seen))
                begin = end
        self._at += count

    def thousandths(self) -> list[list[int]]:
        """Return the peaks of each channel in thousandths of full scale."""
        return [[peak * 1000 // FULL for peak in found] for found in self._found]
