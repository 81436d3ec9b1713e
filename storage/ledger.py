"""The ledger of erasures: what was cut, kept beside the keys, so that a backup that is brought back learns of it.

`keys/NAME.erasures` has one line of JSON for every cut: time, the erasures it was for, leaves and whole days, and the
ids of calls that a request was about. A line is durable before its cut. When the database does not know the erasures
of the last line it is older than the keys: then `storage.restored` does them all again before anything is served.
Space for the next lines is owned ahead, because they must be written on a full disk.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from storage.audit_files import backwards, opened, sync_folder, whole_size
from storage.durable import disk_errors, write_all
from storage.errors import StorageError
from storage.instants import from_text, to_text
from storage.room import keep_room

RESERVE = 128 << 10  # bytes owned beyond the end: some 300 erasures on a full disk


class LedgerDamaged(StorageError):
    """A line of the ledger cannot be read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One cut."""

    erasures: tuple[str, ...]
    """Ids of the erasures it was for."""
    at: datetime
    """When."""
    leaves: tuple[int, ...]
    """Leaves that were cut: of calls, of index keys, of exports."""
    days: tuple[int, ...] = ()
    """Days that were ended whole."""
    calls: tuple[str, ...] = ()
    """Ids of the calls of requests; retention's are not repeated here."""


class Ledger:
    """The ledger of one customer; safe between processes."""

    def __init__(self, keys_dir: Path, customer: str) -> None:
        self._path = keys_dir / f"{customer}.erasures"
        self._reserved = 0

    def append(self, entry: Entry) -> None:
        """Write a line, durably; raises NoSpace, DiskFailed."""
        line = _pack(entry)
        with disk_errors("write the ledger of erasures"):
            fresh = not self._path.exists()
            with opened(self._path, os.O_RDWR | os.O_CREAT) as fd:
                fcntl.flock(fd, fcntl.LOCK_EX)
                size = os.fstat(fd).st_size
                whole = whole_size(fd, size)
                if whole < size:
                    os.ftruncate(fd, whole)  # a crash cut this line off: its cut never came
                    self._reserved = 0
                try:
                    write_all(fd, line, whole)
                    os.fdatasync(fd)
                except OSError:
                    os.ftruncate(fd, whole)
                    raise
                self._keep_room(fd, whole + len(line))
            if fresh:
                sync_folder(self._path.parent)

    def prepare(self) -> None:
        """Make the file and own its reserve; a full disk only keeps it from the second."""
        with disk_errors("prepare the ledger of erasures"):
            fresh = not self._path.exists()
            with opened(self._path, os.O_RDWR | os.O_CREAT) as fd:
                self._keep_room(fd, os.fstat(fd).st_size)
            if fresh:
                sync_folder(self._path.parent)

    def last(self) -> Entry | None:
        """Return the newest entry, None if there is none."""
        if not self._path.exists():
            return None
        with disk_errors("read the ledger of erasures"), opened(self._path, os.O_RDONLY) as fd:
            for _, line in backwards(fd, whole_size(fd, os.fstat(fd).st_size)):
                return _parse(line)
        return None

    def entries(self) -> Iterator[Entry]:
        """Give all entries, oldest first."""
        if not self._path.exists():
            return
        with disk_errors("read the ledger of erasures"), self._path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield _parse(line)

    def _keep_room(self, fd: int, size: int) -> None:
        if size + RESERVE // 2 > self._reserved:
            keep_room(fd, size, RESERVE)
            self._reserved = size + RESERVE


def spans(leaves: Iterable[int]) -> list[tuple[int, int]]:
    """Join neighbouring leaves: first and last of each run."""
    runs: list[tuple[int, int]] = []
    for leaf in sorted(set(leaves)):
        if runs and runs[-1][1] == leaf - 1:
            runs[-1] = (runs[-1][0], leaf)
        else:
            runs.append((leaf, leaf))
    return runs


def _pack(entry: Entry) -> bytes:
    document = {
        "at": to_text(entry.at),
        "erasures": list(entry.erasures),
        "leaves": [f"{a:012x}" if a == b else f"{a:012x}-{b:012x}" for a, b in spans(entry.leaves)],
        "days": sorted(entry.days),
        "calls": sorted(entry.calls),
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _parse(line: bytes) -> Entry:
    try:
        j = json.loads(line)
        leaves = _leaves(j["leaves"])
        days = tuple(int(day) for day in j["days"])
        return Entry(tuple(map(str, j["erasures"])), from_text(j["at"]), leaves, days, tuple(map(str, j["calls"])))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise LedgerDamaged("the ledger of erasures is damaged", "restore keys/ from its backup") from None


def _leaves(texts: Sequence[str]) -> tuple[int, ...]:
    found: list[int] = []
    for text in texts:
        first, _, last = text.partition("-")
        found += range(int(first, 16), int(last or first, 16) + 1)
    return tuple(found)
