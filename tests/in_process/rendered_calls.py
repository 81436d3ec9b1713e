"""Generated calls for the tests of rendering: known sound in records."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from random import Random
from typing import Any, Literal

import av

from media.codecs.decoders import Format
from media.export.render import Measured, RenderStream, Report, measure, render
from media.records import record_format
from media.rtp import header

START = 1_700_000_000_000_000_000  # ns since the epoch
MS = 1_000_000
PCMU, PCMA = Format("PCMU", 8000), Format("PCMA", 8000)
LOUD = bytes(range(0x70)) + bytes(range(0x80, 0xF0))
"""The G.711 bytes of audible samples."""


def noise(seed: int, frames: int, size: int = 160) -> list[bytes]:
    """Make payloads of G.711 noise without silence."""
    random = Random(seed)
    return [bytes(random.choices(LOUD, k=size)) for _ in range(frames)]


def voice(seconds: float, rate: int) -> array[int]:
    """Make a harmonic sound whose loudness varies like syllables."""
    samples = array("h")
    for i in range(int(seconds * rate)):
        t = i / rate
        loud = 0.05 + 0.95 * max(math.sin(2 * math.pi * 2 * t), 0)
        samples.append(int(4000 * loud * sum(math.sin(2 * math.pi * 150 * k * t) / k for k in range(1, 9))))
    return samples


def codec_context(codec: str, mode: Literal["r", "w"]) -> Any:
    """Make an FFmpeg codec context; the type stubs do not tell audio from video contexts."""
    return av.CodecContext.create(codec, mode)


def encode(codec: str, sound: array[int], rate: int, **options: str) -> list[bytes]:
    """Encode mono sound with FFmpeg, one packet for each frame."""
    context = codec_context(codec, "w")
    context.sample_rate, context.layout, context.format, context.options = rate, "mono", "s16", options
    size = context.frame_size or rate // 50
    packets = []
    for at in range(0, len(sound), rate // 50):
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(sound[at : at + rate // 50]))
        frame.sample_rate, frame.pts = rate, at
        piece = sound[at : at + rate // 50].tobytes()
        frame.planes[0].update(piece.ljust(frame.planes[0].buffer_size, b"\0"))
        packets += [bytes(p) for p in context.encode(frame)]
    packets += [bytes(p) for p in context.encode(None)]
    return packets if size else []


def run(
    payloads: Sequence[bytes],
    *,
    stream: int = 0,
    ssrc: int = 7,
    seq: int = 1000,
    ts: int = 5000,
    at: float = 0,
    pt: int = 0,
    step: int = 160,
    every: float = 20,
) -> bytes:
    """Make a RUN; `at` is in ms after START, `every` in ms."""
    arrivals = tuple(START + int((at + i * every) * MS) for i in range(len(payloads)))
    return record_format.run(record_format.Run(stream, False, pt, ssrc, step, seq, ts, arrivals, tuple(payloads)))


def single(
    payload: bytes, *, stream: int = 0, ssrc: int = 7, seq: int = 1000, ts: int = 5000, at: float = 0, pt: int = 0
) -> bytes:
    """Make a PACKET."""
    return record_format.packet(stream, seq, START + int(at * MS), header.build(pt, seq, ts, ssrc, payload))


def stream(index: int, *forms: tuple[int, Format]) -> RenderStream:
    """Describe a stream; without formats, PCMU and PCMA with their static payload types."""
    return RenderStream(index, str(index), dict(forms or ((0, PCMU), (8, PCMA))))


def listen(stored: bytes, *streams: RenderStream) -> tuple[list[array[int]], Report, Measured]:
    """Render a call and separate its channels."""
    wanted = streams or (stream(0),)
    measured = measure(record_format.read([stored]), wanted)
    sound = bytearray()
    report = render(measured, record_format.read([stored]), sound.extend)
    samples = array("h", bytes(sound))
    return [samples[i :: len(wanted)] for i in range(len(wanted))], report, measured


def expand(payload: bytes, law: str = "pcm_mulaw") -> array[int]:
    """Decode G.711 with FFmpeg, as an independent decoder."""
    context = codec_context(law, "r")
    context.sample_rate, context.layout = 8000, "mono"
    return array("h", b"".join(bytes(f.planes[0])[: 2 * f.samples] for f in context.decode(av.Packet(payload))))


def snr(sent: Sequence[int], heard: Sequence[int], most_delay: int) -> tuple[float, int]:
    """Return the delay in samples at which both sounds match best, and the signal-to-noise ratio there in dB."""
    window = sent[len(sent) // 4 : len(sent) // 4 + 4000]
    begin = len(sent) // 4

    def error(delay: int) -> float:
        return sum(
            (a - b) ** 2 for a, b in zip(window, heard[begin + delay : begin + delay + len(window)], strict=True)
        )

    best = min(range(most_delay), key=error)
    return 10 * math.log10(sum(a * a for a in window) / (error(best) or 1)), best
