"""Commit slots of a call: all a successor needs to go on where the last commit was (docs/formats/records.md, "Spool").

    file = two places at FIRST, SLOT bytes each; in the middle of each a slot ends and a base begins
    slot = remainder, moving, generation u64, committed u64, base u32, part u32, flags u32, moving length u32,
           remainder length u32, magic u32, crc32 u32 of moving to magic
    base = magic u32, crc32 u32 of what follows, number u32, head length u32, state length u32, head (JSON), state

`committed` is the ciphertext length of the part that is certainly written; `remainder` the plaintext behind it, from
the beginning of the record that the committed end cuts; `head` the parts before, the pauses and what is left of
handshakes; `state` the streams, `moving` what each batch in order changes of them. Slots and bases are written in turn,
each at the place of its number's lowest bit: a base before the first slot that names it, a slot in one piece and in the
order above. What a kill interrupts therefore has no end that counts, and nothing that another slot needs was touched;
so the remainder, which is most of what is written, wants no checksum. The file lies on tmpfs only: the remainder is
plaintext.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from media.errors import Damaged

#: Distance of the two places; pages that were never written take no memory.
SLOT = 4 << 20
#: Where the first place begins in the file of a call; before it main keeps what it needs itself (recorder.slots).
FIRST = 16 << 20
CLOSED = 1

#: In the middle of a page, so that the end of a slot and a base, which are short, take one together.
_MIDDLE = FIRST + SLOT // 2 + 2048
_MOST = SLOT // 2 - 4096
#: (offset, length) of what a call takes as soon as something is committed, three pages a place: of a remainder of G.711
#: up to 4 KB are the record that the committed bytes cut (0.5 s) and up to 4 KB wait behind it for a whole segment.
ROOM = tuple((_MIDDLE + place * SLOT - 2048 - 8192, 12_288) for place in (0, 1))
_MAGIC, _BASE_MAGIC = 0x53504F32, 0x42415331
_END = struct.Struct("!QQIIIIII")
_CHECK = struct.Struct("!I")
_BASE = struct.Struct("!IIIII")
_CHECKED_AT = 8

#: Reads (offset, length) of a file; shorter at its end.
Read = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Slot:
    """One commit."""

    # counts commits of the call
    generation: int
    # ciphertext bytes of the part that are written
    committed: int
    # number of the part: 3 for "m3"
    part: int
    # the part is sealed and the call over
    closed: bool
    # number of its base
    base: int
    # parts before, pauses: JSON
    head: bytes
    # the streams when the base was written, and what has moved since: media.state
    state: bytes
    moving: bytes
    # plaintext records that the committed bytes do not hold whole
    remainder: bytes = field(repr=False)


def middle(number: int) -> int:
    """Give where the slot of a generation ends and where the base of a number begins."""
    return _MIDDLE + (number & 1) * SLOT


def pack_end(
    generation: int, committed: int, base: int, part: int, closed: bool, moving: bytes, remainder: int
) -> bytes:  # fmt: skip
    """Serialise what follows the remainder of a slot: once per call and tick, so without an object."""
    if len(moving) + remainder > _MOST:
        raise Damaged("a commit slot is too long")
    flags = CLOSED if closed else 0
    body = moving + _END.pack(generation, committed, base, part, flags, len(moving), remainder, _MAGIC)
    return body + _CHECK.pack(zlib.crc32(body))


def pack_base(number: int, head: bytes, state: bytes) -> bytes:
    """Serialise a base; Damaged if it does not fit."""
    body = b"".join((_BASE.pack(0, 0, number, len(head), len(state))[_CHECKED_AT:], head, state))
    if len(body) > _MOST:
        raise Damaged("the base of commit slots is too long")
    return struct.pack("!II", _BASE_MAGIC, zlib.crc32(body)) + body


def newest(read: Read) -> Slot | None:
    """Choose the newest whole slot of a file; None if there is none (the call has committed nothing)."""
    found = [slot for slot in (_slot(read, 0), _slot(read, 1)) if slot is not None]
    return max(found, key=lambda slot: slot.generation, default=None)


def _slot(read: Read, place: int) -> Slot | None:
    at = middle(place) - _END.size - _CHECK.size
    end = read(at, _END.size + _CHECK.size)
    if len(end) < _END.size + _CHECK.size:
        return None
    generation, committed, number, part, flags, moving, remainder, magic = _END.unpack_from(end)
    if magic != _MAGIC or generation & 1 != place or moving + remainder > _MOST:
        return None
    moved = read(at - moving, moving)
    if zlib.crc32(end[: _END.size], zlib.crc32(moved)) != _CHECK.unpack_from(end, _END.size)[0]:
        return None
    base = _base(read, number)
    if base is None:
        return None
    rest = read(at - moving - remainder, remainder)
    return Slot(generation, committed, part, bool(flags & CLOSED), number, *base, moved, rest)


def _base(read: Read, number: int) -> tuple[bytes, bytes] | None:
    """Read the head and the state of a base; None if it is not there."""
    data = read(middle(number), _BASE.size)
    if len(data) < _BASE.size:
        return None
    magic, check, found, head, state = _BASE.unpack(data)
    if magic != _BASE_MAGIC or found != number or head + state > _MOST:
        return None
    body = read(middle(number) + _BASE.size, head + state)
    if zlib.crc32(body, zlib.crc32(data[_CHECKED_AT:])) != check or len(body) != head + state:
        return None
    return body[:head], body[head:]
