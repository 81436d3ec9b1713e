"""The container of a part, a Tink AES-GCM-HKDF stream (docs/formats/container.md): sealing and opening.

    file    = header segment*          segment boundaries lie at multiples of the segment size, header included
    header  = 0x28 salt[32] prefix[7]
    segment = AES-256-GCM(HKDF-SHA-256(key, salt, aad), nonce = prefix || index u32 || last u8, plaintext)

A `Sealer` never seals two plaintexts at the same index, because it seals a segment only when it knows whether more
follows. After a crash a part is never continued: `storage.vault.torn_tail` ends it, and a new part begins.
"""

import hmac
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from storage.errors import BadEnd, Forged, PartFull, Torn

MEDIA_SEGMENT = 4096  # one memory page: 0.4 % overhead, and a killed process never leaves a partly written page
CONTROL_SEGMENT = 1024  # signalling comes in small pieces
HEADER = 40  # length byte, salt, prefix
TAG = 16
SALT = 32  # Tink: as long as the derived key
PREFIX = 7
KEY = 32
MAX_INDEX = 0xFFFF_FFFF  # four bytes of the nonce: 16 TiB of media in one part
READ_AHEAD = 1 << 20  # bytes per read; so large that the cost of the system call does not matter

_TAIL = struct.Struct(">IB").pack  # what follows the prefix in a nonce
_LAST, _MORE = 1, 0


@dataclass(frozen=True, slots=True)
class PartSecret:
    """The secret that opens and seals exactly one part."""

    key: bytes = field(repr=False)
    # the derived AES-256 key of 32 bytes, never the input key
    prefix: bytes
    # the first 7 bytes of every nonce
    segment: int
    # ciphertext bytes of a full segment


def new_part(key: bytes, aad: bytes, segment: int, random: Callable[[int], bytes]) -> tuple[bytes, PartSecret]:
    """Begin a part under an input key; return the header, to be written first, and the secret for a `Sealer`."""
    salt, prefix = random(SALT), random(PREFIX)
    return bytes([HEADER]) + salt + prefix, PartSecret(_derive(key, salt, aad), prefix, segment)


def open_part(key: bytes, aad: bytes, header: bytes, segment: int) -> PartSecret:
    """Return the secret of the part with this header; raise Torn if it is too short, Forged if it is not a header."""
    if len(header) < HEADER:
        raise Torn("the part ends inside its header", len(header))
    if header[0] != HEADER:
        raise Forged("the part does not begin with a header", 0)
    return PartSecret(_derive(key, header[1 : 1 + SALT], aad), bytes(header[1 + SALT : HEADER]), segment)


def seal_segment(secret: PartSecret, index: int, plain: bytes, *, last: bool) -> bytes:
    """Return the ciphertext of one segment; never call this for one index with two different plaintexts."""
    return AESGCM(secret.key).encrypt(secret.prefix + _TAIL(index, _LAST if last else _MORE), plain, None)


def _derive(key: bytes, salt: bytes, aad: bytes) -> bytes:
    """Derive the key of a part by HKDF-SHA-256 (RFC 5869), which takes two HMACs for an output of one hash."""
    if len(key) != KEY:
        raise ValueError("the input key of a part has 32 bytes")
    return hmac.digest(hmac.digest(salt, key, "sha256"), aad + b"\x01", "sha256")


class Sealer:
    """Seals the plaintext of one part into segments; takes pieces of any size.

    `index`: index of the first segment to seal; set it only to copy parts, never to continue a part after a crash.
    """

    __slots__ = ("_finished", "_index", "_key", "_prefix", "_segment", "pending", "room", "sealed")

    def __init__(self, secret: PartSecret, *, index: int = 0) -> None:
        # a cipher context takes 2.5 KB and 0.8 µs to make, so thousands of open parts keep only the key
        self._key = secret.key
        self._prefix = secret.prefix
        self._segment = secret.segment
        self._index = index
        self._finished = False
        self.pending = b""
        # plaintext not sealed yet: 0 to one full segment
        self.room = secret.segment - TAG - (0 if index else HEADER)
        # plaintext bytes that still fit into the current segment
        self.sealed = index * secret.segment or HEADER
        # bytes of the file so far, header included

    @property
    def index(self) -> int:
        """Return the number of the current segment."""
        return self._index

    def add(self, data: bytes) -> bytes:
        """Add `data`; return the ciphertext of all full segments that are known not to be the last."""
        size, room = len(data), self.room
        if size <= room:
            self.pending += data
            self.room = room - size
            return b""
        self._check()
        encrypt, prefix, index = AESGCM(self._key).encrypt, self._prefix, self._index
        segments = [encrypt(prefix + _TAIL(index, _MORE), self.pending + data[:room], None)]
        full = self._segment - TAG
        while size - room > full:
            index += 1
            segments.append(encrypt(prefix + _TAIL(index, _MORE), data[room : room + full], None))
            room += full
        self._index = index + 1
        self.pending = data[room:]
        self.room = full - (size - room)
        ciphertext = b"".join(segments)
        self.sealed += len(ciphertext)
        return ciphertext

    def room_after(self, size: int) -> int:
        """Return the value of `room` after `size` more bytes."""
        return self.room - size if size <= self.room else (self.room - size) % (self._segment - TAG)

    def put_aside(self) -> bytes:
        """Give `pending` to a caller that stores it elsewhere; the caller calls `take_back` next."""
        aside, self.pending = self.pending, b""
        return aside

    def take_back(self, pending: bytes) -> None:
        """Take back what `put_aside` returned."""
        self.pending = pending

    def finish(self, data: bytes = b"") -> bytes:
        """Add the last `data`, seal all pending plaintext and mark the end; the sealer cannot be used afterwards."""
        before = self.add(data)
        self._check()
        self._finished = True
        last = AESGCM(self._key).encrypt(self._prefix + _TAIL(self._index, _LAST), self.pending, None)
        self.pending, self.room = b"", 0
        self.sealed += len(last)
        return before + last

    def _check(self) -> None:
        if self._finished:
            raise PartFull("this part is finished", "begin a new part")
        if self._index > MAX_INDEX - (1 << 16):  # one `add` has far fewer than 65,536 segments
            raise PartFull("this part has no segment numbers left", "begin a new part")


@dataclass(frozen=True, slots=True)
class Defect:
    """Bytes of a part that do not authenticate."""

    kind: str
    # "torn", "forged", or "end" for the last segment, which may be either
    offset: int
    # first bad byte of the file
    length: int
    # number of bad bytes; 0 if all bytes are good but the end is missing


class Reader:
    """Opens the segments of one part; returns no plaintext before it has checked the tag."""

    def __init__(self, secret: PartSecret, size: int, read_at: Callable[[int, int], bytes]) -> None:
        self._decrypt = AESGCM(secret.key).decrypt
        self._prefix = secret.prefix
        self._segment = secret.segment
        self._read_at = read_at
        self.size = size
        # bytes of the file, header included

    def chunks(self, live: bool = False) -> Iterator[bytes]:
        """Yield the plaintext of each segment in order; raise Torn or Forged at the first that is not genuine.

        `live`: the part may still be growing, so the end may be missing, and an incomplete last segment is left out.
        """
        for index, offset, cipher, at_end in self._segments():
            if not at_end:
                yield self._middle(index, offset, cipher)
            else:
                yield from self._end(index, offset, cipher, live)
                return
        if not live:
            raise Torn("the part has no last segment", self.size)

    def defects(self) -> Iterator[Defect]:
        """Check every segment, even after a bad one, and yield all defects, adjacent ones joined."""
        bad: Defect | None = None
        end: Defect | None = Defect("torn", self.size, 0)
        for index, offset, cipher, at_end in self._segments():
            end = self._end_defect(index, offset, cipher) if at_end else end
            if at_end or self.opens(index, cipher, last=False) is not None:
                continue
            if bad and bad.offset + bad.length == offset:
                bad = Defect(bad.kind, bad.offset, bad.length + len(cipher))
                continue
            if bad:
                yield bad
            bad = Defect("forged", offset, len(cipher))
        yield from (defect for defect in (bad, end) if defect)

    def opens(self, index: int, cipher: bytes | memoryview, *, last: bool) -> bytes | None:
        """Return the plaintext of `cipher` if it is segment `index` with this `last` mark, None otherwise."""
        try:
            return self._decrypt(self._prefix + _TAIL(index, _LAST if last else _MORE), cipher, None)
        except InvalidTag:
            return None

    def _segments(self) -> Iterator[tuple[int, int, memoryview, bool]]:
        """Yield index, offset and ciphertext of each segment and whether it is the last; read READ_AHEAD at once."""
        segment, size, at = self._segment, self.size, 0
        step = max(READ_AHEAD // segment, 1) * segment
        while at < size:
            block = memoryview(self._read_at(at, min(step, size - at)))
            if len(block) < min(step, size - at):
                raise Torn("the file ends before its size", at + len(block))
            for start in range(0, len(block), segment):
                offset = at + start
                cipher = block[start : start + segment]
                if offset == 0:
                    offset, cipher = HEADER, cipher[HEADER:]
                if cipher:
                    yield (at + start) // segment, offset, cipher, at + start + segment >= size
            at += step

    def _middle(self, index: int, offset: int, cipher: memoryview) -> bytes:
        try:
            return self._decrypt(self._prefix + _TAIL(index, _MORE), cipher, None)
        except InvalidTag:
            pass
        if self.opens(index, cipher, last=True) is not None:
            raise Forged("bytes follow the last segment", offset + len(cipher))
        raise Forged(f"segment {index} is not genuine", offset)

    def _end(self, index: int, offset: int, cipher: memoryview, live: bool) -> Iterator[bytes]:
        plain = self.opens(index, cipher, last=True)
        if plain is not None:
            yield plain
            return
        plain = self.opens(index, cipher, last=False)
        if plain is not None:
            yield plain
            if not live:
                raise Torn("the last segment is missing", self.size)
        elif offset + len(cipher) == (index + 1) * self._segment:
            raise Forged(f"segment {index} is not genuine", offset)
        elif not live:
            raise (Torn if len(cipher) < TAG else BadEnd)(f"segment {index}, the last, is cut or altered", offset)

    def _end_defect(self, index: int, offset: int, cipher: memoryview) -> Defect | None:
        if self.opens(index, cipher, last=True) is not None:
            return None
        if self.opens(index, cipher, last=False) is not None:
            return Defect("torn", self.size, 0)
        if len(cipher) < TAG:
            return Defect("torn", offset, len(cipher))
        full = offset + len(cipher) == (index + 1) * self._segment
        return Defect("forged" if full else "end", offset, len(cipher))
