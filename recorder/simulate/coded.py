"""Audio whose frames identify themselves: 160 samples of G.711 whose signs are 160 bits, found in any recording.

Bits of a frame, first sample first: 32 sync, 32 run, 24 call, 8 stream, 32 frame number, 32 CRC-32 of the four fields.
All but the sync word are whitened with a fixed pattern, so that a call of many zeros is no hum. The sign of a sample
outlives both G.711 laws, any gain and the way into a WAV file. The frame number is the sender's clock in 20 ms ticks:
it tells which frame this is and also when it was due.

The CRC is affine over XOR, so a frame is `mask(stream) ^ mask(number)`: one operation a packet in the load generator.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

SAMPLES = 160
"""Samples, and so bits, of 20 ms at 8,000 Hz."""
_SYNC = 0x9C5F02D6
_SYNC_BITS = format(_SYNC, "032b").encode()
_WHITE = 0x5A17C3E86D92F04B31E8A5769C0D4FB2
_BODY = struct.Struct("!IIII")
_SIGNS = bytes(49 if high >= 0x80 else 48 for high in range(256))
LOUD = {"PCMA": (0xA5, 0x25), "PCMU": (0x8F, 0x0F)}
"""Code words of a bit 0 (positive) and 1 (negative): about half of full scale in both laws."""
AMPLITUDE = {"PCMA": 16896, "PCMU": 16764}
"""What those code words decode to (ITU-T G.711)."""


@dataclass(frozen=True, slots=True)
class Found:
    """One frame found in a recording."""

    position: int
    """First sample, counted from the beginning of the recording."""
    run: int
    """Number of the run that sent it."""
    call: int
    """Number of the call in its run."""
    stream: int
    """Number of the stream in its call."""
    frame: int
    """The sender's clock in ticks of 20 ms."""


def _crc(run: int, who: int, frame: int) -> int:
    return zlib.crc32(struct.pack("!III", run, who, frame))


def bits(run: int, call: int, stream: int, frame: int) -> int:
    """Return the 160 bits of a frame as a number, first sample in the top bit."""
    who = (call & 0xFFFFFF) << 8 | stream & 0xFF
    body = _BODY.pack(run, who, frame, _crc(run, who, frame))
    return _SYNC << 128 | int.from_bytes(body, "big") ^ _WHITE


def _spread(number: int) -> int:
    """Put each of 160 bits into the sign of its own byte."""
    return int.from_bytes(format(number, "0160b").encode().translate(bytes.maketrans(b"01", b"\x00\x80")), "big")


def stream_mask(codec: str, run: int, call: int, stream: int) -> int:
    """Return the part of a mask that depends on the stream: the frame number 0 as 160 code words."""
    positive = int.from_bytes(bytes([LOUD[codec][0]]) * SAMPLES, "big")
    return positive ^ _spread(bits(run, call, stream, 0))


def frame_mask(frame: int) -> int:
    """Return what changes in every stream's code words from frame 0 to this frame."""
    change = _crc(0, 0, frame) ^ _crc(0, 0, 0)
    return _spread(frame << 32 | change)


def payload(codec: str, run: int, call: int, stream: int, frame: int) -> bytes:
    """Return a frame as G.711 code words."""
    return (stream_mask(codec, run, call, stream) ^ frame_mask(frame)).to_bytes(SAMPLES, "big")


def samples(codec: str, run: int, call: int, stream: int, frame: int) -> bytes:
    """Return a frame as 16-bit little-endian samples, as a decoder gives it."""
    loud = AMPLITUDE[codec]
    text = format(bits(run, call, stream, frame), "0160b")
    return struct.pack("<160h", *(loud if bit == "0" else -loud for bit in text))


def find(sound: bytes) -> Iterator[Found]:
    """Yield the frames in 16-bit little-endian samples of one channel, at whatever offset they lie."""
    signs = sound[1::2].translate(_SIGNS)
    at = signs.find(_SYNC_BITS)
    while at >= 0:
        found = _read(signs[at + 32 : at + SAMPLES], at)
        if found:
            yield found
        at = signs.find(_SYNC_BITS, at + (SAMPLES if found else 1))


def _read(signs: bytes, at: int) -> Found | None:
    if len(signs) < SAMPLES - 32:
        return None
    run, who, frame, crc = _BODY.unpack((int(signs, 2) ^ _WHITE).to_bytes(16, "big"))
    return Found(at, run, who >> 8, who & 0xFF, frame) if crc == _crc(run, who, frame) else None
