"""Pictures that are sent can be decoded, and say of which stream and which moment they are."""

from __future__ import annotations

import av

from media.codecs.video_depacketizer import Vp8
from recorder.simulate import video
from recorder.simulate.batch import HEADER, STRIDE

TOLERANCE = 3.0
"""Shades that a picture may differ from what was drawn, on average; two streams are 16 apart."""


def decoded(payload: bytes) -> bytes:
    """Decode the one picture of a payload by itself and give its brightness."""
    unpack = Vp8()
    unpack.add(payload, follows=False)
    (frame,) = av.CodecContext.create("vp8", "r").decode(av.Packet(unpack.take()))
    return brightness(frame)


def brightness(frame: av.VideoFrame) -> bytes:
    plane = frame.planes[0]
    rows = [bytes(plane)[at : at + frame.width] for at in range(0, frame.height * plane.line_size, plane.line_size)]
    return b"".join(rows)


def apart(one: bytes, other: bytes) -> float:
    assert len(one) == len(other)
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


def test_each_packet_is_a_picture_that_shows_what_was_drawn() -> None:
    stream = 7
    payloads = video.encode(stream)
    assert len(payloads) == video.PICTURES and max(map(len, payloads)) <= STRIDE - HEADER - 16
    for number in (0, 1, 24, video.PICTURES - 1):
        shown = decoded(payloads[number])
        assert apart(shown, video.luma(stream, number)) < TOLERANCE
        for other in ((stream, number + 2), (stream - 1, number)):
            assert apart(shown, video.luma(*other)) > TOLERANCE
