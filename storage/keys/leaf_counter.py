"""The counter that gives every recording a leaf of its own: durable, never random, no number used twice.

The counter file has one u32 for each day (docs/formats/keytree.md): how many blocks of 1,024 numbers were allocated. A
process allocates a whole block with one durable write and numbers a thousand recordings from memory. Unused numbers are
lost, which does no harm. The top 8 bits of a number are the node, so nodes need not coordinate.
"""

import fcntl
import os
import struct
import threading
from collections.abc import Iterable
from pathlib import Path

from storage.errors import KeysError, KeysMissing, KeysWrong
from storage.files.durable_files import Disk, disk_errors
from storage.keys.key_tree import DAY_BITS, NUMBER_BITS, day_of, leaf_of

BLOCK = 1024
NODE_BITS = 8
COUNTER_BITS = NUMBER_BITS - NODE_BITS  # 16 million recordings a day and node
BLOCKS = (1 << COUNTER_BITS) // BLOCK
LOW_WATER = 128  # numbers left when a background refill starts: a third of a second at 300 calls/s
MAX_DAYS = 8  # days cached: today, and tomorrow around midnight; more only if the clock is badly wrong
_MAGIC = b"SRKL\x01\0\0\0"
_COUNT = struct.Struct(">I")
FILE_BYTES = len(_MAGIC) + _COUNT.size * (1 << DAY_BITS)


def node_of(leaf: int) -> int:
    """Return the number of the node that allocated a leaf."""
    return leaf >> COUNTER_BITS & (1 << NODE_BITS) - 1


def create_leaves(path: Path, disk: Disk) -> None:
    """Create a counter file without any allocated number."""
    disk.reserve(path, FILE_BYTES)
    disk.overwrite(path, _MAGIC)


class Leaves:
    """Allocates the leaves of one customer on one node; safe between threads and processes."""

    def __init__(self, path: Path, node: int, disk: Disk) -> None:
        if not 0 <= node < 1 << NODE_BITS:
            raise ValueError("a node number has eight bits")
        self._node = node
        self._disk = disk
        self._left: dict[int, list[range]] = {}
        self._guard = threading.Lock()
        self._path = path
        os.close(_open(path, os.O_RDONLY))

    def take(self, day: int) -> int:
        """Return an unused leaf of `day`; writes to the disk once in 1,024 calls."""
        with self._guard:
            if not self._left.get(day):
                self._fill(day)
            ranges = self._left[day]
            first = ranges[0]
            ranges[:1] = [first[1:]] if len(first) > 1 else []
            return leaf_of(day, self._node << COUNTER_BITS | first[0])

    def low(self, day: int) -> bool:
        """Return whether `refill` should be called soon, in a thread that may wait for the disk."""
        return sum(map(len, self._left.get(day, ()))) < LOW_WATER

    def refill(self, day: int) -> None:
        """Allocate a block in advance; meanwhile other threads can take leaves without waiting for the disk."""
        block = self._advance(day, None)
        with self._guard:
            self._add(day, block)

    def skip(self, leaves: Iterable[int], spare: int = 0) -> None:
        """Never allocate these leaves, lower leaves of their days, or the leaves of the next `spare` blocks.

        Call this for keys that were restored from an older copy.
        """
        highest: dict[int, int] = {}
        for leaf in leaves:
            counter = leaf & ((1 << COUNTER_BITS) - 1)
            highest[day_of(leaf)] = max(counter, highest.get(day_of(leaf), 0))
        with self._guard:
            for day, counter in highest.items():
                self._left.pop(day, None)
                self._advance(day, min(counter // BLOCK + 1 + spare, BLOCKS))

    def _fill(self, day: int) -> None:
        self._add(day, self._advance(day, None))

    def _add(self, day: int, block: int) -> None:
        if day not in self._left and len(self._left) >= MAX_DAYS:
            del self._left[min(self._left)]
        self._left.setdefault(day, []).append(range(block * BLOCK, (block + 1) * BLOCK))

    def _advance(self, day: int, at_least: int | None) -> int:
        """Raise the day's count durably, by one or to `at_least`; return the previous count."""
        if not 0 <= day < 1 << DAY_BITS:
            raise ValueError("a day number has sixteen bits")
        offset = len(_MAGIC) + _COUNT.size * day
        with disk_errors("number a recording"):
            fd = _open(self._path, os.O_RDWR)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                (count,) = _COUNT.unpack(os.pread(fd, _COUNT.size, offset))
                after = count + 1 if at_least is None else max(count, at_least)
                if after > BLOCKS:
                    raise KeysError("all recording numbers of this day are used", "numbers are free again tomorrow")
                self._disk.write(fd, _COUNT.pack(after), offset)
                self._disk.sync(fd)
            finally:
                os.close(fd)
        return int(count)


def _open(path: Path, flags: int) -> int:
    hint = "restore `keys/` of this installation with `recorder keys restore`"
    with disk_errors("open the counter of recordings"):
        try:
            fd = os.open(path, flags | os.O_CLOEXEC)
        except FileNotFoundError:
            raise KeysMissing(f"the counter of recordings {path.name} is not in keys/", hint) from None
        if os.pread(fd, len(_MAGIC), 0) != _MAGIC or os.fstat(fd).st_size != FILE_BYTES:
            os.close(fd)
            raise KeysWrong(f"the counter of recordings {path.name} is damaged", hint)
    return fd
