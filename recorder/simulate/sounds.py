"""Voices in the codec of a stream, as frames of 20 ms. FFmpeg is imported only for G.722 and Opus."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from typing import Any

from recorder.simulate.plan import CODECS, LONGEST_TUNE, TICK
from recorder.simulate.voices import voice

OPUS_BITRATE = 32_000
"""Bits a second: usual for speech."""


def tune(number: int, codec: str, seconds: float) -> array[int]:
    """Return the voice that a stream repeats: as long as the call if that is short, a whole number of frames."""
    length = min(LONGEST_TUNE, math.ceil(seconds) + 1)
    return voice(number, CODECS[codec].rate, length)


def encode(codec: str, sound: array[int]) -> list[bytes]:
    """Return the frames of a voice."""
    if codec in ("PCMA", "PCMU"):
        table = _law(codec)
        data = bytes(table[sample >> 3] for sample in sound)
        return [data[at : at + 160] for at in range(0, len(data), 160)]
    return list(_by_ffmpeg(codec, sound))


def _law(codec: str) -> bytes:
    """Return the code word of every 13-bit sample, indexed by sample >> 3 with Python's negative indices."""
    code = _alaw if codec == "PCMA" else _mulaw
    return bytes([*(code(8 * i) for i in range(4096)), *(code(8 * i) for i in range(-4096, 0))])


def _alaw(sample: int) -> int:
    """ITU-T G.711 table 1: sign, three bits of segment, four of step, every other bit inverted."""
    sign, size = (0x80, sample) if sample >= 0 else (0, ~sample)
    segment = max(0, (size >> 8).bit_length())
    step = size >> (segment + 3 if segment else 4) & 15
    return (sign | segment << 4 | step) ^ 0x55


def _mulaw(sample: int) -> int:
    """ITU-T G.711 table 2: as A-law with a bias of 132, all bits inverted."""
    sign, size = (0, sample) if sample >= 0 else (0x80, -sample)
    size = min(size, 32635) + 132
    segment = size.bit_length() - 8
    return ~(sign | segment << 4 | size >> (segment + 3) & 15) & 0xFF


def _by_ffmpeg(codec: str, sound: array[int]) -> Iterator[bytes]:
    """Yield one packet per frame from FFmpeg's encoder."""
    import av

    rate = CODECS[codec].rate
    context: Any = av.CodecContext.create("libopus" if codec == "opus" else "g722", "w")
    context.sample_rate, context.layout, context.format = rate, "mono", "s16"
    if codec == "opus":
        context.bit_rate = OPUS_BITRATE
        context.options = {"application": "voip", "frame_duration": "20"}
    size = round(rate * TICK)
    for number, at in enumerate(range(0, len(sound), size)):
        frame = av.AudioFrame(format="s16", layout="mono", samples=size)
        frame.planes[0].update(sound[at : at + size].tobytes())
        frame.sample_rate, frame.pts = rate, number * size
        yield from (bytes(packet) for packet in context.encode(frame))
    yield from (bytes(packet) for packet in context.encode(None))
