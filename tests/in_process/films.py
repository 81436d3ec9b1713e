"""Generated video for tests of rendering: plain colours, encoded and cut into RTP payloads by the tests' own code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import av

from media.records import record_format
from media.rtp import header
from tests.in_process.rendered_calls import MS, START, codec_context

MTU = 600
CLOCK = 90_000


def picture(luma: int, width: int = 320, height: int = 180) -> av.VideoFrame:
    """Make a grey picture."""
    frame = av.VideoFrame(width, height, "yuv420p")
    for number, plane in enumerate(frame.planes):
        plane.update(bytes([128 if number else luma]) * plane.buffer_size)
    return frame


def film(codec: str, lumas: Sequence[int], width: int = 320, height: int = 180) -> list[bytes]:
    """Encode plain pictures, 25 a second, without delaying any."""
    context = codec_context(codec, "w")
    context.width, context.height, context.pix_fmt, context.framerate = width, height, "yuv420p", 25
    context.thread_count = 1
    context.options = (
        {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline"}
        if codec == "libx264"
        else {"deadline": "realtime", "cpu-used": "-16", "lag-in-frames": "0", "auto-alt-ref": "0"}
    )
    made = []
    for number, luma in enumerate(lumas):
        frame = picture(luma, width, height)
        frame.pts = number
        made.append(b"".join(bytes(packet) for packet in context.encode(frame)))
    return made


def units(data: bytes) -> list[bytes]:
    """Cut annex B bytes at their start codes."""
    return [unit for unit in data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]


def h264_payloads(data: bytes, *, aggregate: bool = True) -> list[bytes]:
    """Cut an access unit into payloads: small units together (STAP-A), large ones in fragments (FU-A)."""
    small = [unit for unit in units(data) if len(unit) <= MTU // 3]
    out = []
    if aggregate and len(small) > 1:
        out.append(b"\x78" + b"".join(len(unit).to_bytes(2, "big") + unit for unit in small))
    else:
        out += small
    for unit in units(data):
        if len(unit) > MTU // 3:
            out += _fragments(unit)
    return out


def _fragments(unit: bytes) -> Iterator[bytes]:
    head, rest = unit[0], unit[1:]
    pieces = [rest[at : at + MTU] for at in range(0, len(rest), MTU)]
    for number, piece in enumerate(pieces):
        mark = (0x80 if number == 0 else 0) | (0x40 if number == len(pieces) - 1 else 0)
        yield bytes([head & 0xE0 | 28, mark | head & 0x1F]) + piece


def vp8_payloads(data: bytes) -> list[bytes]:
    """Cut a picture into payloads with a descriptor that has a 15-bit picture id."""
    pieces = [data[at : at + MTU] for at in range(0, len(data), MTU)]
    return [bytes([0x90 if n == 0 else 0x80, 0x80, 0x81, 0x23]) + piece for n, piece in enumerate(pieces)]


def stored(
    pictures: Sequence[Sequence[bytes]],
    *,
    stream: int,
    ssrc: int = 90,
    pt: int = 96,
    at: float = 0,
    every: float = 40,
    lost: frozenset[int] = frozenset(),
) -> bytes:
    """Make PACKETs of a film; `at` and `every` are in ms, `lost` has the positions of packets that never arrive."""
    out, sequence = [], 500
    for number, payloads in enumerate(pictures):
        stamp = int(number * every * CLOCK / 1000) + 12_345
        for payload in payloads:
            if sequence - 500 not in lost:
                data = header.build(pt, sequence & 0xFFFF, stamp, ssrc, payload)
                out.append(record_format.packet(stream, sequence, START + int((at + number * every) * MS), data))
            sequence += 1
    return b"".join(out)
