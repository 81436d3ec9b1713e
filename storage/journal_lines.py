"""A line of the journal as bytes (docs/formats/journal.md): what it says in the clear, and its sealed items."""

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from storage.errors import SealBroken

HEAD_BYTES = 128  # of a line, which its number is in
_HEAD = re.compile(rb'\{"id":"([0-9a-f]+)"(?:,"n":(\d{1,18}))?(,"base":true)?,"items":')

Box = tuple[int, int, bytes]
"""Number of an item in its line, its leaf, its sealed value."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a line says of itself in the clear."""

    id: str
    """What its items are bound to."""
    number: int
    """Number of the line; 0 in files of before lines had numbers."""
    base: bool
    """It is part of what counted when that number was reached; what came before is not in the file any more."""

    @classmethod
    def of(cls, line: bytes) -> "Head | None":
        """Read the beginning of a line; None if it is damaged."""
        found = _HEAD.match(line)
        return cls(found[1].decode(), int(found[2] or 0), found[3] is not None) if found else None


def packed(id: str, number: int, boxes: Iterable[Box], *, base: bool) -> bytes:
    """Lay out a line from number, leaf and sealed value of its items."""
    items = [[place, f"{leaf:012x}", base64.b64encode(box).decode()] for place, leaf, box in boxes]
    head = {"id": id, "n": number, **({"base": True} if base else {})}
    return json.dumps({**head, "items": items}, separators=(",", ":")).encode() + b"\n"


def boxes_of(line: bytes) -> tuple[str, list[Box]]:
    """Read the id and the items of a line; raises SealBroken."""
    try:
        found = json.loads(line)
        boxes = [(int(n), int(leaf, 16), base64.b64decode(box)) for n, leaf, box in found["items"]]
        return str(found["id"]), boxes
    except (ValueError, KeyError, TypeError):
        raise SealBroken("a line of the journal is damaged") from None
