"""The module compiled from media/stream/fast_path.c when the recorder was installed (setup.py)."""

import zlib
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from media.receive.batch import CONTROL, CONTROL_AT, LENGTH_AT, MMSGHDR, NEAR, NEAR_AT, SLOTS
from media.records import record_format
from media.rtp import header

MODULE = "media.stream._fast_path"
SOURCES = (Path(__file__).with_name("fast_path.c"), Path(__file__).with_name("fast_path.h"))

#: Bytes of the longest RUN that a batch can become.
RECORD = record_format.RUN_HEAD + 2 * (SLOTS - 1) + SLOTS * NEAR
#: Numbers that C and Python must have in common.
NUMBERS = (
    SLOTS, NEAR, MMSGHDR, CONTROL, LENGTH_AT, CONTROL_AT, NEAR_AT, header.HEADER, record_format.Kind.RUN,
    record_format.RUN_HEAD, record_format.DELTA_NS, RECORD,
)  # fmt: skip


@cache
def library() -> Any | None:
    """Import it; return None if it was not compiled, or from different sources."""
    try:
        found = import_module(MODULE)
        source = zlib.crc32(b"".join(path.read_bytes() for path in SOURCES))
    except (ImportError, OSError):
        return None
    same = found.lib.fast_path_source == source and tuple(found.lib.fast_path_numbers) == NUMBERS
    return found if same else None
