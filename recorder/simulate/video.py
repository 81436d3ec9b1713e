"""A moving picture for each video stream, a whole picture per packet; aiortc encodes it.

Every picture is a key frame, so that each packet can be decoded by itself: after a hold, a loss or a restart. A picture
shows a bar whose position is the number of the picture, on a grey that is the number of the participant.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import Any

from recorder.simulate.plan import CODECS

PICTURES = 50
"""Pictures until it repeats: a second, at one a tick."""
WIDTH, HEIGHT = 176, 96
BAR, STEP = 16, 3
"""Pixels of the bar, and of its movement per picture."""
STREAMS = 8
"""Shades that can be distinguished after a codec; the ninth stream looks like the first."""


def luma(stream: int, number: int) -> bytes:
    """Return the brightness of a picture, row by row: what a decoder should find again."""
    shade, at = 40 + 16 * (stream % STREAMS), STEP * (number % PICTURES)
    row = bytearray([shade]) * WIDTH
    row[at : at + BAR] = b"\xe6" * BAR
    return bytes(row) * HEIGHT


@lru_cache(2 * STREAMS)
def encode(codec: str, stream: int) -> tuple[bytes, ...]:
    """Return the RTP payloads of a stream in VP8 (RFC 7741) or H264 (RFC 6184), one a picture."""
    from aiortc.codecs.h264 import H264Encoder
    from aiortc.codecs.vpx import Vp8Encoder
    from av import VideoFrame

    encoder: Any = Vp8Encoder() if codec == "VP8" else H264Encoder()
    made = []
    for number in range(PICTURES):
        frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
        grey = b"\x80" * (WIDTH * HEIGHT // 4)
        for plane, data in zip(frame.planes, (luma(stream, number), grey, grey), strict=True):
            rows = [data[i : i + plane.width] for i in range(0, len(data), plane.width)]
            plane.update(b"".join(row.ljust(plane.line_size, b"\0") for row in rows))
        frame.pts, frame.time_base = number * CODECS[codec].step, Fraction(1, CODECS[codec].clock)
        (payload,), _ = encoder.encode(frame, force_keyframe=True)  # a picture of bars is far shorter than a packet
        made.append(payload)
    return tuple(made)
