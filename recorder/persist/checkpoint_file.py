"""The files of live calls in the runtime directory: one per call, reused from calls that are over.

    live/NUMBER = state A at 0, state B at 8 MiB, spool at 16 MiB (docs/formats/records.md)
    state       = magic u32, crc32 u32 of what follows but `over`, over u8, outer u32, sealed u32, generation u64,
                  outer (JSON), sealed bytes

The two states are written in turn and the newest whole one counts, so that a `kill -9` during a write leaves the
previous one. A call that ends empties its file instead of deleting it: file systems are slow to create files where many
were just deleted (ext4 searches all of the last minutes), and a node starts and ends hundreds of calls a second. The
media ports are outside the seal and this module imports nothing heavy, because a start reads the ports first.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from media.records.commit_slots import ROOM
from storage.files.durable_files import make_apart

FOLDER = "live"
"""Folder of the files in the runtime directory."""
STATE = 8 << 20
"""Distance of the two states; a longer state is not ours. Pages that were never written take no memory."""
SPOOL = 2 * STATE
"""Where the spool starts: what a media worker leaves for its successor."""
MAX_FREE = 1_024
"""Empty files kept open for the next calls: as many as start in the seconds in which others end."""
VERSION = 2
"""Of the state and of the spool: raise it when the previous version could not continue such a call."""
HIGHEST_PORT = 65_535
"""Set if the pair includes the port above."""
MAX_PORTS = 128
"""Streams of a call: an SDP offer has at most 64 lines, and a removed one keeps its port for a while."""

_HEAD = struct.Struct("!IIBIIQ")
_MAGIC = 0x4C495645
_CHECKED_AT, _OVER_AT = 9, 8


@dataclass(frozen=True, slots=True)
class State:
    """What a file says about its call; only `sealed` is secret."""

    generation: int  # counts the writes of this call
    over: bool  # the call ended; only indexing is left
    outer: dict[str, Any]  # version, program, customer, leaf, call, media ports
    sealed: bytes = field(repr=False)


@dataclass(slots=True, eq=False)
class Slot:
    """One file of a live call, open for reading and writing."""

    folder: str  # one string shared by all files
    number: int  # its name in that folder
    fd: int
    generation: int = 0
    lent: bool = False  # a media worker may be writing to its spool

    @property
    def path(self) -> Path:
        """Return the path of the file."""
        return Path(self.folder, str(self.number))

    def write(self, outer: bytes, sealed: bytes) -> None:
        """Replace the state by a newer one; raises OSError, and the old one stays."""
        generation = self.generation + 1
        body = _HEAD.pack(0, 0, 0, len(outer), len(sealed), generation)[_CHECKED_AT:] + outer + sealed
        if len(body) + _CHECKED_AT > STATE:
            raise OSError("the state of a call is too long")
        data = struct.pack("!IIB", _MAGIC, zlib.crc32(body), 0) + body
        at = _place(generation)
        done = 0
        while done < len(data):
            done += os.pwrite(self.fd, data[done:] if done else data, at + done)
        self.generation = generation

    def reserve(self) -> None:
        """Reserve the memory that the spool needs; raises OSError if the call could not survive a kill."""
        for at, length in ROOM:  # written, not only allocated: outside tmpfs allocating takes 4 ms
            if os.pwrite(self.fd, bytes(length), at) != length:
                raise OSError(errno.ENOSPC, "no room for the spool of a call")

    def end(self) -> None:
        """Note that the call is over and empty its spool, whose plaintext nobody needs any more."""
        os.pwrite(self.fd, b"\1", _place(self.generation) + _OVER_AT)
        if os.fstat(self.fd).st_size > SPOOL:
            os.ftruncate(self.fd, SPOOL)


class Slots:
    """All files of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._place = str(folder)  # pathlib would take three times the memory
        make_apart(folder)
        self._known: dict[int, Slot] = {}  # by file name
        self._free: list[Slot] = []
        self._next = 1 + max((int(name) for name in os.listdir(folder) if _ours(name)), default=0)

    def take(self) -> Slot:
        """Return an empty file; raises OSError."""
        if self._free:
            return self._free.pop()
        name = str(self._next)
        self._next += 1
        return self._open(name, os.O_CREAT | os.O_EXCL)

    def _open(self, name: str, flags: int = 0) -> Slot:
        opened = os.open(f"{self._place}/{name}", flags | os.O_RDWR | os.O_CLOEXEC, 0o600)
        slot = self._known[int(name)] = Slot(self._place, int(name), opened)
        return slot

    def give_back(self, slot: Slot) -> None:
        """Empty a file for the next call; one that a media worker may still write to is deleted instead."""
        try:
            os.ftruncate(slot.fd, 0)
        except OSError:
            slot.lent = True
        if slot.lent or len(self._free) >= MAX_FREE:
            self._remove(slot)
            return
        slot.generation = 0
        self._free.append(slot)

    def left(self) -> Iterator[tuple[Slot, State]]:
        """Yield what a previous daemon process left, open; files without a call are kept for the next ones."""
        for name in sorted(_names(self._folder), key=int):
            slot = self._known.get(int(name)) or self._open(name)
            state = read(slot.fd)
            if state is not None:
                slot.generation = state.generation
                yield slot, state
            elif slot not in self._free:
                self.give_back(slot)

    def close(self) -> None:
        """Delete the empty files and close the others, which stay for a successor."""
        for slot in self._free:
            self._remove(slot)
        for slot in self._known.values():
            os.close(slot.fd)
        self._known.clear()
        self._free.clear()

    def _remove(self, slot: Slot) -> None:
        del self._known[slot.number]
        slot.path.unlink(missing_ok=True)
        os.close(slot.fd)


def read(fd: int) -> State | None:
    """Return the newest whole state of a file, None if it has no call or one of another version."""
    return _newest(fd, lambda version: version == VERSION)


def _newest(fd: int, wanted: Callable[[object], bool]) -> State | None:
    found = [state for at in (0, STATE) if (state := _read(fd, at)) and wanted(state.outer.get("v"))]
    return max(found, key=lambda state: state.generation, default=None)


def newer_calls(runtime_dir: Path) -> list[State]:
    """Return every live call that a newer program left: this one cannot continue them."""
    found = states(runtime_dir, lambda version: type(version) is int and version > VERSION)
    return [state for state in found if not state.over]


def states(runtime_dir: Path, wanted: Callable[[object], bool] = lambda version: version == VERSION) -> Iterator[State]:
    """Yield the state of every file that has a call, without keeping any open; `wanted` takes its version."""
    folder = runtime_dir / FOLDER
    for name in _names(folder) if folder.is_dir() else ():
        try:
            fd = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            state = _newest(fd, wanted)
        finally:
            os.close(fd)
        if state is not None:
            yield state


def left_ports(runtime_dir: Path) -> Iterator[tuple[int, bool]]:
    """Yield (RTP port, whether it has an RTCP port above it) of every live call whose file can be read.

    Not sealed, so a compromised media worker may have written it.
    """
    for state in states(runtime_dir):
        if not state.over:
            yield from ports_of(state)


def ports_of(state: State) -> Iterator[tuple[int, bool]]:
    """Yield the RTP ports of a call, and whether each has an RTCP port above it; nothing if they cannot be read."""
    try:
        stored = [(port, bool(rtcp)) for port, rtcp in state.outer["ports"]]
    except (ValueError, KeyError, TypeError):
        return
    yield from ((port, rtcp) for port, rtcp in stored[:MAX_PORTS] if type(port) is int and 0 < port < HIGHEST_PORT)


def left_calls(runtime_dir: Path) -> set[str]:
    """Return the ids of the calls that a previous daemon process left to be continued."""
    return {str(state.outer.get("call")) for state in states(runtime_dir) if not state.over}


def live_customers(runtime_dir: Path) -> Counter[str]:
    """Return how many calls of each customer are live, or wait to be continued."""
    return Counter(str(state.outer.get("customer")) for state in states(runtime_dir) if not state.over)


def _names(folder: Path) -> list[str]:
    """Return names that may be our files.

    A folder, link or pipe with such a name is none, and opening a pipe may never return.
    """
    with os.scandir(folder) as found:
        return [entry.name for entry in found if _ours(entry.name) and entry.is_file(follow_symlinks=False)]


def _ours(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def _place(generation: int) -> int:
    return (generation & 1) * STATE


def _read(fd: int, at: int) -> State | None:
    head = os.pread(fd, _HEAD.size, at)
    if len(head) < _HEAD.size:
        return None
    magic, check, over, outer, sealed, generation = _HEAD.unpack(head)
    if magic != _MAGIC or outer + sealed > STATE or generation & 1 != at // STATE:
        return None
    body = os.pread(fd, outer + sealed, at + _HEAD.size)
    if zlib.crc32(body, zlib.crc32(head[_CHECKED_AT:])) != check:
        return None
    try:
        said = json.loads(body[:outer])
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    return State(generation, bool(over), said, body[outer:])
