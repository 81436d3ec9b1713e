"""Commit slots of a call: all a successor needs to continue after the last commit (docs/formats/records.md, "Spool").

    file = two places at FIRST, SLOT bytes each; in the middle of each a slot ends and a base begins
    slot = sealed (remainder, moving; tag at its end), nonce 12, end
    end  = generation u64, committed u64, base u32, part u32, flags u32, moving length u32, remainder length u32,
           magic u32
    base = magic u32, number u32, head length u32, state length u32, nonce 12,
           sealed (head (JSON), state; tag at its end)

`committed` is how many ciphertext bytes of the part are certainly written. `remainder` is the plaintext after them,
from the start of the record that the committed end cuts. `head` holds the earlier parts, the pauses and the state of
handshakes. `state` holds the streams; `moving` holds what batches in sequence have changed in them since. Slots and
bases are written alternately to the two places, each to the one given by the lowest bit of its number. A base is
written before the first slot that names it, and a slot is written in one piece, in the order above. So if a kill
interrupts a write, the end does not match what precedes it, and nothing that another slot needs was overwritten.

Both are sealed with AES-256-GCM under the recording's own key; the fields outside are the associated data. The nonce is
a keyed fingerprint of everything sealed (`Nonces`): two different slots never share a nonce, whatever happened to the
machine's counters, clock or random numbers in between.

The previous version did not seal its slots. They are read until the calls that had one at an upgrade have ended.
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from media.errors import Damaged

#: Distance of the two places; pages that were never written take no memory.
SLOT = 4 << 20
#: Start of the first place in the file of a call; before it main keeps its own state
#: (recorder.persist.checkpoint_file).
FIRST = 16 << 20
CLOSED = 1

#: In the middle of a page, so that the end of a slot and a base, which are short, share one.
_MIDDLE = FIRST + SLOT // 2 + 2048
_MOST = SLOT // 2 - 4096
#: (offset, length) used by a call once anything is committed, three pages per place: of a G.711 remainder, up to 4 KB
#: are the record that the committed bytes cut (0.5 s), and up to 4 KB wait after it for a whole segment.
ROOM = tuple((_MIDDLE + place * SLOT - 2048 - 8192, 12_288) for place in (0, 1))
#: Bytes of the key of a call's spool, and of the key of `Nonces`.
KEY = 32
NONCE, TAG = 12, 16

_MAGIC, _BASE_MAGIC = 0x53504F33, 0x42415332
_END = struct.Struct("!QQIIIIII")
_BASE = struct.Struct("!IIII")

#: In the previous version a checksum over everything from `moving` on followed the end; a base had one after its magic.
_PLAIN_MAGIC, _PLAIN_BASE_MAGIC = 0x53504F32, 0x42415331
_CHECK = struct.Struct("!I")
_PLAIN_BASE = struct.Struct("!IIIII")
_CHECKED_AT = 8
#: Nonce with which `Nonces` computes fingerprints.
_FINGERPRINT = b"fingerprint."

#: Reads (offset, length) of a file; returns less at its end.
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
    # the part is sealed and the call is over
    closed: bool
    # number of its base
    base: int
    # parts before, pauses: JSON
    head: bytes
    # the streams when the base was written, and what has moved since: media.stream.checkpoint
    state: bytes
    moving: bytes
    # plaintext records that the committed bytes do not contain completely
    remainder: bytes = field(repr=False)


def middle(number: int) -> int:
    """Return where the slot of a generation ends and where the base of a number starts."""
    return _MIDDLE + (number & 1) * SLOT


class Nonces:
    """Derive nonces that differ whenever the sealed data differ, from a secret of one process.

    The nonce is AES of a GMAC: equal only for equal data, except for one chance in 2^96 per pair. So it needs no
    counter that a crash could lose, and no random numbers or clock that a machine restored from a snapshot would
    repeat. It is never computed again; it is stored with what it was made for.
    """

    def __init__(self, key: bytes) -> None:
        """`key`: KEY random bytes used for nothing else."""
        self._seal = AESGCM(key).encrypt

    def of(self, plain: bytes, outside: bytes) -> bytes:
        """Return the nonce for sealing this with the associated data `outside`."""
        # the fingerprint must stay secret, because it reveals something about its key
        fingerprint = self._seal(_FINGERPRINT, outside, plain)[-TAG:]
        return self._seal(fingerprint[:NONCE], b"", None)[:NONCE]


def cipher_of(key: bytes) -> AESGCM:
    """Return the cipher for the key of a call's spool; created per commit, because it takes 2.5 KB."""
    return AESGCM(key)


def pack_slot(
    cipher: AESGCM, nonces: Nonces, generation: int, committed: int, base: int, part: int, closed: bool,
    moving: bytes, rest: Sequence[bytes | bytearray],
) -> bytes:  # fmt: skip
    """Seal and serialise a slot, once per call and tick, so without an object. Raise Damaged if it does not fit."""
    plain = b"".join((*rest, moving))
    if len(plain) > _MOST:
        raise Damaged("a commit slot is too long")
    flags, moved = CLOSED if closed else 0, len(moving)
    end = _END.pack(generation, committed, base, part, flags, moved, len(plain) - moved, _MAGIC)
    nonce = nonces.of(plain, end)
    return b"".join((cipher.encrypt(nonce, plain, end), nonce, end))


def remainder_of(cipher: AESGCM, slot: bytes) -> bytes:
    """Open what `pack_slot` returned and return the remainder; raise Damaged if it is something else."""
    end = slot[-_END.size :]
    try:
        plain = cipher.decrypt(slot[-_END.size - NONCE : -_END.size], slot[: -_END.size - NONCE], end)
        return plain[: _END.unpack(end)[6]]
    except (InvalidTag, ValueError, struct.error):
        raise Damaged("a commit slot was changed") from None


def pack_base(cipher: AESGCM, nonces: Nonces, number: int, head: bytes, state: bytes) -> bytes:
    """Seal and serialise a base; raise Damaged if it does not fit."""
    if len(head) + len(state) > _MOST:
        raise Damaged("the base of commit slots is too long")
    begin, plain = _BASE.pack(_BASE_MAGIC, number, len(head), len(state)), head + state
    nonce = nonces.of(plain, begin)
    return b"".join((begin, nonce, cipher.encrypt(nonce, plain, begin)))


def newest(read: Read, key: bytes) -> Slot | None:
    """Return the newest whole slot of a file; None if there is none (the call has committed nothing)."""
    cipher = cipher_of(key)
    found = [slot for place in (0, 1) if (slot := _slot(read, cipher, place)) is not None]
    if not found:  # an unsealed slot next to a sealed one would not be from an earlier version
        found = [slot for place in (0, 1) if (slot := _plain_slot(read, place)) is not None]
    return max(found, key=lambda slot: slot.generation, default=None)


def _slot(read: Read, cipher: AESGCM, place: int) -> Slot | None:
    at = middle(place) - _END.size
    end = read(at, _END.size)
    if len(end) < _END.size:
        return None
    generation, committed, number, part, flags, moving, remainder, magic = _END.unpack(end)
    if magic != _MAGIC or generation & 1 != place or moving + remainder > _MOST:
        return None
    length = NONCE + TAG + moving + remainder
    data = read(at - length, length)
    plain = _opened(cipher, data[-NONCE:], data[:-NONCE], end)
    base = None if plain is None else _base(read, cipher, number)
    if plain is None or base is None:
        return None
    return Slot(generation, committed, part, bool(flags & CLOSED), number, *base, plain[remainder:], plain[:remainder])


def _opened(cipher: AESGCM, nonce: bytes, sealed: bytes, outside: bytes) -> bytes | None:
    try:
        return cipher.decrypt(nonce, sealed, outside)
    except (InvalidTag, ValueError):  # ValueError: too short for a nonce
        return None


def _base(read: Read, cipher: AESGCM, number: int) -> tuple[bytes, bytes] | None:
    """Read the head and the state of a base; None if it is missing."""
    begin = read(middle(number), _BASE.size)
    if len(begin) < _BASE.size:
        return None
    magic, found, head, state = _BASE.unpack(begin)
    if magic != _BASE_MAGIC or found != number or head + state > _MOST:
        return None
    data = read(middle(number) + _BASE.size, NONCE + head + state + TAG)
    plain = _opened(cipher, data[:NONCE], data[NONCE:], begin)
    return None if plain is None else (plain[:head], plain[head:])


# ---- the previous version ----
def _plain_end(read: Read, place: int) -> tuple[tuple[int, ...], bytes, int] | None:
    """Read the numbers of an unsealed slot, its `moving`, and the start of its remainder."""
    at = middle(place) - _END.size - _CHECK.size
    end = read(at, _END.size + _CHECK.size)
    if len(end) < _END.size + _CHECK.size:
        return None
    numbers = _END.unpack_from(end)
    generation, *_, moving, remainder, magic = numbers
    if magic != _PLAIN_MAGIC or generation & 1 != place or moving + remainder > _MOST:
        return None
    moved = read(at - moving, moving)
    if zlib.crc32(end[: _END.size], zlib.crc32(moved)) != _CHECK.unpack_from(end, _END.size)[0]:
        return None
    return numbers, moved, at - moving - remainder


def _plain_slot(read: Read, place: int) -> Slot | None:
    found = _plain_end(read, place)
    if found is None:
        return None
    (generation, committed, number, part, flags, _, remainder, _), moved, at = found
    base = _plain_base(read, number)
    if base is None:
        return None
    return Slot(generation, committed, part, bool(flags & CLOSED), number, *base, moved, read(at, remainder))


def _plain_base(read: Read, number: int) -> tuple[bytes, bytes] | None:
    data = read(middle(number), _PLAIN_BASE.size)
    if len(data) < _PLAIN_BASE.size:
        return None
    magic, check, found, head, state = _PLAIN_BASE.unpack(data)
    if magic != _PLAIN_BASE_MAGIC or found != number or head + state > _MOST:
        return None
    body = read(middle(number) + _PLAIN_BASE.size, head + state)
    if zlib.crc32(body, zlib.crc32(data[_CHECKED_AT:])) != check or len(body) != head + state:
        return None
    return body[:head], body[head:]


def unsealed(read: Read) -> list[tuple[int, int, int]]:
    """Return generation, offset and length of each unsealed slot, so that it can be overwritten."""
    ends = [end for place in (0, 1) if (end := _plain_end(read, place))]
    return [(numbers[0], at, middle(numbers[0]) - at) for numbers, _, at in ends]
