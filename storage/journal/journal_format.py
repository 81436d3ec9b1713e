"""The byte format of a line of the journal (docs/formats/journal.md): its head in the clear, and its sealed items.

Lines are in the order of their numbers, and each item is bound to the number of its line. A file is refused if somebody
changed a number or the order, or removed a line from the middle.
"""

import base64
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from storage.errors import SealBroken
from storage.json_bytes import ascii_json

HEAD_BYTES = 128  # bytes at the beginning of a line that hold its number
BOUND = 2  # first version that binds items to number and customer; version 1 binds them only to the id
_HEAD = re.compile(rb'\{"id":"([0-9a-f]+)"(,"v":2)?(?:,"n":(\d{1,18}))?(,"base":true)?(?:,"of":(\d{1,18}))?,"items":')

Box = tuple[int, int, bytes]
"""Number of an item in its line, its leaf, its sealed value."""


@dataclass(frozen=True, slots=True)
class Head:
    """The part of a line that is in the clear."""

    id: str
    """Random id that the items are bound to."""
    number: int
    """Number of the line; 0 in files from before lines had numbers."""
    base: bool
    """Whether the line is part of the state at that number; earlier lines are no longer in the file."""
    version: int
    """Version of the format: 2, or 1 for a line whose number is not authenticated."""
    origin: int
    """Number of the line that the items were sealed for; differs from `number` if they were copied into a base."""

    @classmethod
    def of(cls, line: bytes) -> "Head | None":
        """Parse the beginning of a line; return None if it is damaged."""
        found = _HEAD.match(line)
        if found is None:
            return None
        number = int(found[3] or 0)
        version, origin = (BOUND, int(found[5] or number)) if found[2] else (1, 0)
        return cls(found[1].decode(), number, found[4] is not None, version, origin)

    @classmethod
    def new(cls, id: str, number: int, *, base: bool = False) -> "Head":
        """Return the head of a new line."""
        return cls(id, number, base, BOUND, number)

    def context(self, place: int, customer: str) -> str:
        """Return the context to which an item of this line is bound."""
        return f"{self.id}.{place}" if self.version < BOUND else f"{self.id}.{place}.{self.origin}.{customer}"

    def copied(self, number: int) -> "Head":
        """Return the head of a base line that contains items of this line."""
        return Head(self.id, number, True, self.version, self.origin)


def packed(head: Head, boxes: Iterable[Box]) -> bytes:
    """Serialise a line from its head and the number, leaf and sealed value of each item."""
    bound = head.version >= BOUND
    told = {
        "id": head.id,
        **({"v": head.version} if bound else {}),
        "n": head.number,
        **({"base": True} if head.base else {}),
        **({"of": head.origin} if bound and head.origin != head.number else {}),
        "items": [[place, f"{leaf:012x}", base64.b64encode(box).decode()] for place, leaf, box in boxes],
    }
    return ascii_json(told) + b"\n"


def boxes_of(line: bytes) -> tuple[Head, list[Box]]:
    """Parse the head and the items of a line; raises SealBroken."""
    head = Head.of(line)
    try:
        if head is None:
            raise ValueError
        found = json.loads(line)["items"]
        return head, [(int(n), int(leaf, 16), base64.b64decode(box)) for n, leaf, box in found]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SealBroken("a line of the journal is damaged") from None


def counting(heads: Sequence[Head | None]) -> list[bool]:
    """Return whether each line is valid; if a number is used again, its earlier transaction did not commit.

    Raises SealBroken if lines are missing, out of order or repeated.
    """
    _expect_order(heads)
    counts, least = list[bool](), None
    for head in reversed(heads):
        again = head is not None and not head.base and least is not None and head.number >= least
        counts.append(not again)
        if head is not None and head.number and not head.base:
            least = head.number if least is None else min(least, head.number)
    return counts[::-1]


def _expect_order(heads: Sequence[Head | None]) -> None:
    """Check the order of the lines; lines of version 1 contain nothing by which to check it."""
    seen = set[tuple[str, int]]()
    before: Head | None = _START
    for head in heads:
        if head is not None and head.version >= BOUND:
            if (head.id, head.origin) in seen or not _follows(head, before):
                raise SealBroken("lines of the journal are missing or in another order")
            seen.add((head.id, head.origin))
        before = head


def _follows(head: Head, before: Head | None) -> bool:
    """Return whether a line may follow another; its number may be the next, or that of an uncommitted transaction."""
    if before is None:
        return True  # a damaged line has no number to compare; it is refused when it is opened
    if head.base:
        beside = before is _START or (before.base and before.number == head.number)
        return beside and before.origin <= head.origin <= head.number
    return 0 < head.number <= before.number + 1 and head.origin == head.number


_START = Head("", 0, False, 1, 0)
