"""Packets of many streams in one system call: build, protect in place, `sendmmsg`.

The hot path of the load generator: per packet one header, one payload, one call of libsrtp through its cffi binding,
nothing else; addresses and message headers are laid out once. Sequence numbers and timestamps follow from the tick.
"""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import select
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pylibsrtp import Session
from pylibsrtp._binding import ffi, lib  # the public `protect` copies each packet twice

STRIDE = 1536
"""Bytes reserved a packet: an Ethernet frame."""
HEADER = 12
_FULL_SECONDS = 0.1
"""How long to wait at once for room in a full socket."""
_MAX_MESSAGES = 1024
"""UIO_MAXIOV: the kernel takes no more in one sendmmsg."""
_MESSAGE = struct.Struct("@PIPNPNi4xI4x")
"""struct mmsghdr on 64-bit Linux."""
_HEAD = struct.Struct("!HHII")
_V4, _V6 = struct.Struct("=H2s4s8x"), struct.Struct("=H2s4x16s4x")
_AF_INET, _AF_INET6 = 2, 10

_libc = ctypes.CDLL(None, use_errno=True)
_libc.sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


def socket_name(host: str, port: int) -> bytes:
    """Return a sockaddr for a numeric address."""
    address = ipaddress.ip_address(host)
    layout, family = (_V4, _AF_INET) if address.version == 4 else (_V6, _AF_INET6)
    return layout.pack(family, port.to_bytes(2, "big"), address.packed)


@dataclass(slots=True)
class Source:
    """One stream that is being sent."""

    name: bytes
    """sockaddr of the recorder's port."""
    ssrc: int
    """Own synchronisation source."""
    payload_type: int
    """RTP payload type."""
    marker: bool
    """Whether each packet has the marker bit: it ends a picture (RFC 7741 section 4.1), and each packet is one."""
    sequence: int
    """Sequence number at tick 0, may be negative."""
    timestamp: int
    """RTP timestamp at tick 0."""
    step: int
    """RTP clock units a tick."""
    session: Session | None
    """Protects the packets, None for plain RTP."""
    mask: int = 0
    """Coded audio: `coded.stream_mask`; 0 if the frames count."""
    frames: Sequence[bytes] = field(default=(), repr=False)
    """Encoded frames that are sent in turn."""
    first: int = 0
    """Tick of the first frame: a decoder needs what came before any other one."""

    def skip(self, ticks: int) -> None:
        """Send nothing for a number of ticks; the sequence continues where it stopped."""
        self.sequence -= ticks


_Place = tuple[int, int, int, int, int, int, int, Any, Any, int, Sequence[bytes], int]


class Batch:
    """The streams of one socket that are due at the same moment."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._places: list[_Place] = []
        self._size = ffi.new("int *")
        self.errors = 0
        """Packets that the kernel or libsrtp did not take."""

    def __len__(self) -> int:
        return len(self._places)

    def arrange(self, sources: Iterable[Source]) -> None:
        """Prepare buffers, addresses and message headers for these streams."""
        # the sessions must live as long as the places that are made from them here
        self._sources = sources = list(sources)
        count = max(1, len(sources))
        self._buffer = bytearray(STRIDE * count)
        self._names = bytearray(b"".join(s.name.ljust(28, b"\0") for s in sources))
        self._vectors = bytearray(16 * count)
        self._lengths = memoryview(self._vectors).cast("L")
        self._messages = bytearray(_MESSAGE.size * count)
        addresses = [_address(b) for b in (self._buffer, self._names or bytearray(1), self._vectors, self._messages)]
        self._base = addresses[3]
        pointer = ffi.from_buffer(self._buffer)
        self._places = []
        for i, source in enumerate(sources):
            offset = STRIDE * i
            self._lengths[2 * i] = addresses[0] + offset
            name = (addresses[1] + 28 * i, len(source.name))
            _MESSAGE.pack_into(self._messages, _MESSAGE.size * i, *name, addresses[2] + 16 * i, 1, 0, 0, 0, 0)
            self._places.append(_place(source, i, pointer + offset))

    def send(self, tick: int, frame: int) -> None:
        """Send every stream's packet of this tick; `frame` is `coded.frame_mask(tick)`."""
        buffer, lengths, size, pack, protect = (
            self._buffer,
            self._lengths,
            self._size,
            _HEAD.pack_into,
            lib.srtp_protect,
        )
        for offset, at, head, sequence, timestamp, step, ssrc, session, pointer, mask, frames, first in self._places:
            pack(buffer, offset, head, tick + sequence & 0xFFFF, timestamp + tick * step & 0xFFFFFFFF, ssrc)
            payload = (mask ^ frame).to_bytes(160, "big") if mask else frames[(tick - first) % len(frames)]
            end = HEADER + len(payload)
            buffer[offset + HEADER : offset + end] = payload
            if session is not None:
                size[0] = end
                self.errors += protect(session, pointer, size) != 0
                end = size[0]
            lengths[at] = end
        self._flush()

    def _flush(self) -> None:
        done, count = 0, len(self._places)
        while done < count:
            sent = _libc.sendmmsg(
                self._descriptor, self._base + _MESSAGE.size * done, min(count - done, _MAX_MESSAGES), 0
            )
            if sent <= 0 and ctypes.get_errno() == errno.EAGAIN:  # the socket is full, and does not block
                select.select([], [self._descriptor], [], _FULL_SECONDS)
            elif sent <= 0:  # the first message failed (no route, firewall): skip it, the others are sent
                self.errors += 1
                sent = 1
            done += max(0, sent)


def _place(source: Source, index: int, pointer: Any) -> _Place:
    session = source.session._srtp[0] if source.session else None  # as `Session.protect` takes it
    head = 0x8000 | source.marker << 7 | source.payload_type
    return (
        STRIDE * index, 2 * index + 1, head, source.sequence, source.timestamp, source.step,
        source.ssrc, session, pointer, source.mask, source.frames, source.first,
    )  # fmt: skip


def _address(buffer: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def random_number(bits: int) -> int:
    """Return a random number with this many bits, for SSRCs and first sequence numbers (RFC 3550 section 5.1)."""
    return int.from_bytes(os.urandom(8), "big") >> 64 - bits
