"""Ending a part whose writer died: drop the torn tail, and seal the last whole segment again as the last one.

The plaintext of the segment stays the same, so no nonce is used for two plaintexts. The old segment is overwritten only
after a durable copy of the new one was appended to the same file. Every step can therefore be interrupted and repeated:

    … k-1 | k (more)                    as found, tail dropped
    … k-1 | k (more) | k (last)         the copy is appended               → durable
    … k-1 | k (last) | k (last)         the original is overwritten        → durable
    … k-1 | k (last)                    the copy is cut off

`recovering` is a generator that yields at each arrow, so that a thousand parts can share one sync.
"""

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from storage.errors import Forged
from storage.vault.container import HEADER, PartSecret, Reader, seal_segment


class Outcome(Enum):
    """Result of recovery."""

    WHOLE = "whole"
    # nothing had to be done
    ENDED = "ended"
    # cut to its last whole segment, which is now marked as the last
    EMPTY = "empty"
    # without a whole segment: the caller replaces it by an empty part with a new header


@dataclass(frozen=True, slots=True)
class Recovery:
    """Report on how a part was ended."""

    outcome: Outcome
    # result
    size: int
    # present size of the file in bytes; 0 if EMPTY
    dropped: int
    # number of bytes that were cut off


class PartFile(Protocol):
    """The file operations that recovery needs; they need not be durable when they return."""

    def size(self) -> int:
        """Return the size of the file in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""

    def write(self, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`."""

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes."""


def recovering(secret: PartSecret, file: PartFile, committed: int | None = None) -> Generator[None, None, Recovery]:
    """End the part, keeping `committed` bytes (whole segments), or all genuine segments if it is None.

    The caller makes all writes durable at each yield. Raises Forged, with nothing changed, if none of several segments
    is genuine: the key is then wrong or the file is not a part, and cutting would destroy it.
    """
    size = file.size()
    limit = size if committed is None else min(committed, size)
    reader = Reader(secret, size, file.read)
    for index in range((limit - 1) // secret.segment, -1, -1):
        start, end = _bounds(index, secret.segment, limit)
        cipher = file.read(start, end - start)
        if reader.opens(index, cipher, last=True) is not None:
            if end == size:
                return Recovery(Outcome.WHOLE, size, 0)
            return (yield from _cut(file, end, size))
        plain = reader.opens(index, cipher, last=False)
        if plain is not None:
            copy = seal_segment(secret, index, plain, last=True)
            file.truncate(end)
            file.write(end, copy)
            yield
            return (yield from _replace(file, start, copy, size))
        copy = file.read(end, end - start)
        if reader.opens(index, copy, last=True) is not None:
            return (yield from _replace(file, start, copy, size))
    if limit > HEADER and size > secret.segment:
        raise Forged("not one segment of the part is genuine", HEADER, "check that the keys are those of this customer")
    return Recovery(Outcome.EMPTY, 0, size)


def _bounds(index: int, segment: int, limit: int) -> tuple[int, int]:
    return (index * segment or HEADER), min((index + 1) * segment, limit)


def _replace(file: PartFile, start: int, copy: bytes, before: int) -> Generator[None, None, Recovery]:
    """Overwrite the original segment at `start` with the durable copy after it."""
    file.write(start, copy)
    yield
    return (yield from _cut(file, start + len(copy), before))


def _cut(file: PartFile, end: int, before: int) -> Generator[None, None, Recovery]:
    file.truncate(end)
    yield
    return Recovery(Outcome.ENDED, end, max(before - end, 0))
