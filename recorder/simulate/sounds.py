"""Voices and coded audio in the codec of a stream, as frames of 20 ms; aiortc encodes them."""

from __future__ import annotations

import math
from array import array
from fractions import Fraction
from typing import Any

from recorder.simulate.plan import CODECS, LONGEST_TUNE, TICK
from recorder.simulate.voices import voice

OPUS_BITRATE = 32_000
"""Bits a second: usual for speech, where aiortc takes what music needs."""
_ENCODERS = {"PCMA": "PcmaEncoder", "PCMU": "PcmuEncoder", "G722": "G722Encoder", "opus": "OpusEncoder"}


class Coder:
    """The encoder of one stream."""

    def __init__(self, codec: str) -> None:
        from aiortc import codecs  # loads FFmpeg

        self.codec = codec
        self._encoder: Any = getattr(codecs, _ENCODERS[codec])()
        if codec == "opus":
            self._encoder.codec.bit_rate = OPUS_BITRATE
        self._rate, self._at = CODECS[codec].rate, 0

    def encode(self, samples: bytes) -> bytes:
        """Return the payload of the next 20 ms, given as 16-bit samples."""
        from av import AudioFrame

        frame = AudioFrame(format="s16", layout="mono", samples=len(samples) // 2)
        frame.planes[0].update(samples)
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._at, Fraction(1, self._rate)
        self._at += frame.samples
        (payload,), _ = self._encoder.encode(frame)
        return bytes(payload)


def tune(number: int, codec: str, seconds: float) -> array[int]:
    """Return the voice that a stream repeats: as long as the call if that is short, a whole number of frames."""
    length = min(LONGEST_TUNE, math.ceil(seconds) + 1)
    return voice(number, CODECS[codec].rate, length)


def encode(codec: str, sound: array[int]) -> list[bytes]:
    """Return the frames of a voice."""
    coder, size = Coder(codec), round(CODECS[codec].rate * TICK)
    return [coder.encode(sound[at : at + size].tobytes()) for at in range(0, len(sound), size)]
