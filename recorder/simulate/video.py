"""A moving picture for each video stream as VP8, a whole picture per packet (RFC 7741). FFmpeg is imported only here.

Every picture is a key frame, so that each packet can be decoded by itself: after a hold, a loss or a restart. A picture
shows a bar whose position is the number of the picture, on a grey that is the number of the participant.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import Any

PICTURES = 50
"""Pictures until it repeats: a second, at one a tick."""
WIDTH, HEIGHT = 176, 96
BAR, STEP = 16, 3
"""Pixels of the bar, and of its movement per picture."""
STREAMS = 8
"""Shades that can be distinguished after a codec; the ninth stream looks like the first."""
_DESCRIPTOR = b"\x10"
"""RFC 7741 section 4.2: the first packet of a picture, partition 0, no other fields."""


def luma(stream: int, number: int) -> bytes:
    """Return the brightness of a picture, row by row: what a decoder should find again."""
    shade, at = 40 + 16 * (stream % STREAMS), STEP * (number % PICTURES)
    row = bytearray([shade]) * WIDTH
    row[at : at + BAR] = b"\xe6" * BAR
    return bytes(row) * HEIGHT


@lru_cache(STREAMS)
def encode(stream: int) -> tuple[bytes, ...]:
    """Return the RTP payloads of a stream, one a picture."""
    import av

    context: Any = av.CodecContext.create("libvpx", "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.options = {"g": "1", "crf": "20", "b": "2M", "deadline": "good", "cpu-used": "8", "lag-in-frames": "0"}
    context.time_base = Fraction(1, PICTURES)
    made = []
    for number in range(PICTURES):
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        grey = b"\x80" * (WIDTH * HEIGHT // 4)
        for plane, data in zip(frame.planes, (luma(stream, number), grey, grey), strict=True):
            rows = [data[i : i + plane.width] for i in range(0, len(data), plane.width)]
            plane.update(b"".join(row.ljust(plane.line_size, b"\0") for row in rows))
        frame.pts = number
        made += [_DESCRIPTOR + bytes(packet) for packet in context.encode(frame)]
    made += [_DESCRIPTOR + bytes(packet) for packet in context.encode(None)]
    return tuple(made)
