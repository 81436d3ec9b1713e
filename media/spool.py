"""Commit slot of a call: all a successor needs to go on where the last commit was (docs/formats/records.md, "Spool").

    slot    = magic u32, crc32 u32 of what follows, length u32 of what follows, generation u64, committed u64,
              part number u32, flags u32, head length u32, state length u32, head (JSON), state, remainder
    file    = slot A at FIRST, slot B behind it at a distance of SLOT; written in turn, the newest whole one counts

`committed` is the ciphertext length of the part that is certainly written; `remainder` the plaintext behind it, from
the
beginning of the record that the committed end cuts; `head` the parts before and the pauses; `state` the streams.
The file lies on tmpfs only: the remainder is plaintext.
"""

import struct
import zlib
from dataclasses import dataclass

from media.errors import Damaged

MAGIC = 0x53504F31
#: Distance of the two slots; pages that were never written take no memory.
SLOT = 4 << 20
#: Where the first slot lies in the file of a call; before it main keeps what it needs itself (recorder.slots).
FIRST = 16 << 20
CLOSED = 1

_HEAD = struct.Struct("!IIIQQIIII")
_CHECKED_AT = 12
#: What has to be read to know how long a slot is.
PREFIX = _CHECKED_AT


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
    # parts before, pauses: JSON
    head: bytes
    # the streams: media.track
    state: bytes
    # plaintext records that the committed bytes do not hold whole
    remainder: bytes


def pack(slot: Slot) -> bytes:
    """Serialise a slot; Damaged if it does not fit."""
    return pack_parts(slot.generation, slot.committed, slot.part, slot.closed, slot.head, slot.state, slot.remainder)


def pack_parts(
    generation: int, committed: int, part: int, closed: bool, head: bytes, state: bytes, remainder: bytes
) -> bytes:
    """Serialise a slot from its fields: once per call and tick, so without an object."""
    body = b"".join(
        (
            _HEAD.pack(
                0, 0, _HEAD.size - _CHECKED_AT + len(head) + len(state) + len(remainder),
                generation, committed, part, CLOSED if closed else 0, len(head), len(state),
            )[_CHECKED_AT:],
            head,
            state,
            remainder,
        )
    )  # fmt: skip
    if len(body) + _CHECKED_AT > SLOT:
        raise Damaged("a commit slot is too long")
    return struct.pack("!III", MAGIC, zlib.crc32(body), len(body)) + body


def offset(generation: int) -> int:
    """Give where the slot of a generation lies."""
    return FIRST + (generation & 1) * SLOT


def length(prefix: bytes) -> int:
    """Give how many bytes follow a slot's prefix; 0 if it is none."""
    if len(prefix) < PREFIX or int.from_bytes(prefix[:4], "big") != MAGIC:
        return 0
    return min(SLOT, int.from_bytes(prefix[8:12], "big"))


def newest(first: bytes, second: bytes) -> Slot | None:
    """Choose from what lies at the two offsets; None if neither is a whole slot (the call has committed nothing)."""
    found = [slot for slot in (_unpack(first), _unpack(second)) if slot is not None]
    return max(found, key=lambda slot: slot.generation, default=None)


def _unpack(data: bytes) -> Slot | None:
    if len(data) < _HEAD.size:
        return None
    magic, check, length, generation, committed, part, flags, head, state = _HEAD.unpack_from(data)
    body = data[_CHECKED_AT : _CHECKED_AT + length]
    if magic != MAGIC or len(body) != length or zlib.crc32(body) != check:
        return None
    at = _HEAD.size
    middle, tail = at + head, at + head + state
    if tail > _CHECKED_AT + length:
        return None
    return Slot(
        generation, committed, part, bool(flags & CLOSED), data[at:middle], data[middle:tail],
        data[tail : _CHECKED_AT + length],
    )  # fmt: skip
