"""A media worker's first message: which messages it knows, so that main sends none to a worker of other files.

Files may be replaced under a running daemon; a worker that it starts then runs the new ones. Any version can compare
these bytes, whatever its messages look like. Pure.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from media.receive import receive_region
from recorder.workers import codec

_OPENING = b"recorder worker, messages "


def greeting(classes: Iterable[type], *formats: object) -> bytes:
    """Return the first message for these message types, in their order, and these formats.

    It depends on the names and annotations of the fields.
    """
    shapes = [f"{each.__name__}{each.__annotations__}" for each in classes]
    # against accidents, not attacks: 32 bits are enough, and hashlib would be one more module to load
    return _OPENING + b"%08x" % zlib.crc32(repr((formats, shapes)).encode())


#: The first message of a worker of these files: both ends know the same messages, and main can read a worker's region.
GREETING = greeting(
    codec.CLASSES, codec.MAX_MESSAGE, receive_region.MAGIC, receive_region.JOURNAL.format, receive_region.PID_AT
)
