"""RTP payloads of video to encoded pictures, ready for a decoder; pure.

H.264 by RFC 6184 (single NAL units, STAP-A, FU-A: packetization modes 0 and 1), VP8 by RFC 7741. The payloads of one
picture share a timestamp, so a picture is complete when the next one begins or its time has passed. A lost packet only
removes the unit to which it belonged; decoders conceal the rest.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Protocol

from media.codecs.decoders import Format

START = b"\x00\x00\x00\x01"
"""Start code before each NAL unit (ITU-T H.264 annex B)."""
MAX_PICTURE = 8 << 20
"""Bytes of one picture; a 4k key frame has about one megabyte."""
STAP_A, FU_A = 24, 28
LAST_SINGLE = 23


class Unpacking(Protocol):
    """Turns the payloads of one source, in order, into input for a decoder."""

    codec: str
    """FFmpeg's name of the decoder."""

    def add(self, payload: bytes, *, follows: bool) -> None:
        """Add a payload; `follows`: none is missing before it."""
        ...

    def take(self) -> bytes:
        """Return what there is of the picture, and start the next one."""
        ...


def unpacking(form: Format) -> Unpacking | None:
    """Return the depacketizer for this format; None if there is none."""
    name = form.name.upper()
    return H264(form.fmtp) if name == "H264" else Vp8() if name == "VP8" else None


class H264:
    """NAL units of RFC 6184."""

    codec = "h264"

    def __init__(self, fmtp: str | None) -> None:
        """`fmtp` may hold the parameter sets (sprop-parameter-sets), which some senders never repeat."""
        self._whole = bytearray()
        self._part = bytearray()  # fragments of the unit in progress; empty if there is none
        for unit in parameter_sets(fmtp):
            self._whole += START + unit

    def add(self, payload: bytes, *, follows: bool) -> None:
        """Add a payload."""
        if not follows:
            self._part.clear()
        kind = payload[0] & 0x1F if payload else 0
        if 1 <= kind <= LAST_SINGLE:
            self._unit(payload)
        elif kind == STAP_A:
            for unit in _aggregated(payload):
                self._unit(unit)
        elif kind == FU_A and len(payload) > 2:
            self._fragment(payload)

    def _unit(self, unit: bytes | bytearray) -> None:
        if unit and len(self._whole) + len(unit) <= MAX_PICTURE:
            self._whole += START + unit

    def _fragment(self, payload: bytes) -> None:
        begins, ends = payload[1] & 0x80, payload[1] & 0x40
        if begins:
            self._part = bytearray([payload[0] & 0xE0 | payload[1] & 0x1F])
        if not self._part or len(self._part) > MAX_PICTURE:
            return
        self._part += payload[2:]
        if ends:
            self._unit(self._part)
            self._part = bytearray()

    def take(self) -> bytes:
        """Return the units so far; a unit in progress is kept."""
        whole = bytes(self._whole)
        self._whole.clear()
        return whole


def _aggregated(payload: bytes) -> Iterator[bytes]:
    at = 1
    while at + 2 < len(payload):
        size = int.from_bytes(payload[at : at + 2], "big")
        unit = payload[at + 2 : at + 2 + size]
        if len(unit) < size:
            return
        yield unit
        at += 2 + size


def parameter_sets(fmtp: str | None) -> Iterator[bytes]:
    """Yield the NAL units of sprop-parameter-sets (RFC 6184 section 8.1)."""
    for parameter in (fmtp or "").split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "sprop-parameter-sets":
            for coded in value.split(","):
                try:
                    unit = base64.b64decode(coded, validate=True)
                except (binascii.Error, ValueError):
                    continue
                if unit:
                    yield unit


class Vp8:
    """Partitions (RFC 7741); an incomplete picture is dropped."""

    codec = "vp8"

    def __init__(self) -> None:
        self._whole = bytearray()
        self._broken = True

    def add(self, payload: bytes, *, follows: bool) -> None:
        """Add a payload."""
        size = _descriptor(payload)
        if size is None:
            self._broken = True
            return
        if payload[0] & 0x10 and not payload[0] & 0x07:  # the first partition begins
            self._whole.clear()
            self._broken = False
        elif not follows:
            self._broken = True
        if len(self._whole) <= MAX_PICTURE:
            self._whole += payload[size:]

    def take(self) -> bytes:
        """Return the picture; empty if it is incomplete."""
        whole = b"" if self._broken else bytes(self._whole)
        self._whole.clear()
        self._broken = True
        return whole


def _descriptor(payload: bytes) -> int | None:
    """Return the length of the payload descriptor (RFC 7741 section 4.2); None if the payload ends within it."""
    size = 1
    if payload[:1] and payload[0] & 0x80:
        bits = payload[1] if len(payload) > 1 else 0
        size = 2 + bool(bits & 0x40) + bool(bits & 0x30)
        if bits & 0x80:
            size += 2 if len(payload) > 2 and payload[2] & 0x80 else 1
    return size if len(payload) > size else None


class Pictures:
    """The pictures of one source, each with the position at which it is shown."""

    def __init__(self, unpack: Unpacking) -> None:
        self._unpack = unpack
        self._position: int | None = None
        self._next = -1

    def add(self, position: int, sequence: int, payloads: tuple[bytes, ...]) -> Iterator[tuple[int, bytes]]:
        """Add payloads with one position, in order; yield the previous picture if this is another one."""
        if self._position is not None and position != self._position:
            yield from self.finish()
        self._position = position
        for number, payload in enumerate(payloads):
            self._unpack.add(payload, follows=sequence + number == self._next)
            self._next = sequence + number + 1

    def before(self, position: float) -> Iterator[tuple[int, bytes]]:
        """Yield the current picture if it lies before a position up to which everything was added: it is complete."""
        if self._position is not None and self._position < position:
            yield from self.finish()
            self._position = None

    def finish(self) -> Iterator[tuple[int, bytes]]:
        """Yield the last picture."""
        data = self._unpack.take()
        if data and self._position is not None:
            yield self._position, data
