"""Files to which lines are only appended, so that a crash at any moment leaves whole lines.

A line without its line feed is ignored, and the next writer removes it. Writers hold an exclusive flock. Space for
the next lines is reserved in advance, because some must be written on a full disk.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from storage.files.durable_files import Disk, disk_errors, opened, write_all
from storage.files.reserved_space import reserve

_BLOCK = 64 << 10


class LineFile:
    """An append-only file of lines; safe between processes."""

    def __init__(self, path: Path, what: str, reserve: int) -> None:
        """`what` completes "could not …"; `reserve`: bytes of disk to reserve beyond the end."""
        self._path = path
        self._what = what
        self._reserve = reserve
        self._reserved = 0

    @property
    def size(self) -> int:
        """Return the bytes of the file, 0 if there is none."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    @property
    def exists(self) -> bool:
        """Return whether the file exists."""
        return self._path.exists()

    def append(self, line: bytes) -> None:
        """Append a line, line feed included, durably; if NoSpace or DiskFailed is raised, the line was not added."""
        with disk_errors(f"write {self._what}"):
            fresh = not self._path.exists()
            with opened(self._path, os.O_RDWR | os.O_CREAT) as fd:
                fcntl.flock(fd, fcntl.LOCK_EX)
                size = os.fstat(fd).st_size
                whole = whole_size(fd, size)
                if whole < size:
                    os.ftruncate(fd, whole)  # an incomplete line that a crash left: its write was never acknowledged
                    self._reserved = 0
                try:
                    write_all(fd, line, whole)
                    os.fdatasync(fd)
                except OSError:
                    os.ftruncate(fd, whole)
                    self._reserved = 0  # the truncation released the reserved space
                    self._own(fd, whole)
                    raise
                self._own(fd, whole + len(line))
            if fresh:
                Disk().sync_folder(self._path.parent)

    def take_back(self, line: bytes) -> bool:
        """Remove a line durably if it is still the last one."""
        with disk_errors(f"write {self._what}"):
            if not self._path.exists():
                return False
            with opened(self._path, os.O_RDWR) as fd:
                fcntl.flock(fd, fcntl.LOCK_EX)
                end = whole_size(fd, os.fstat(fd).st_size)
                begin = end - len(line)
                if begin < 0 or os.pread(fd, len(line), begin) != line:
                    return False
                os.ftruncate(fd, begin)
                os.fdatasync(fd)
                self._reserved = 0  # the truncation released the reserved space
                self._own(fd, begin)
                return True

    def prepare(self) -> None:
        """Create the file and reserve space; on a full disk, only create it."""
        with disk_errors(f"prepare {self._what}"):
            fresh = not self._path.exists()
            with opened(self._path, os.O_RDWR | os.O_CREAT) as fd:
                self._own(fd, os.fstat(fd).st_size)
            if fresh:
                Disk().sync_folder(self._path.parent)

    def last(self, most: int | None = None) -> bytes | None:
        """Return the newest line, or its first `most` bytes; None if there is none."""
        if not self._path.exists():
            return None
        with disk_errors(f"read {self._what}"), opened(self._path, os.O_RDONLY) as fd:
            end = whole_size(fd, os.fstat(fd).st_size)
            begin = whole_size(fd, end - 1) if end else 0
            return os.pread(fd, min(end - begin, most or end), begin) if end else None

    def lines(self) -> Iterator[bytes]:
        """Yield all lines, oldest first."""
        if not self._path.exists():
            return
        with disk_errors(f"read {self._what}"), self._path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line

    def after(self, offset: int = 0) -> tuple[list[bytes], int]:
        """Return the whole lines from `offset` on, and the offset after them; a line must begin at `offset`."""
        if not self._path.exists():
            return [], 0
        with disk_errors(f"read {self._what}"), self._path.open("rb") as file:
            file.seek(offset)
            found = [line for line in file if line.endswith(b"\n")]
        return found, offset + sum(map(len, found))

    def newest_first(self) -> Iterator[bytes]:
        """Yield all lines, newest first."""
        if not self._path.exists():
            return
        with disk_errors(f"read {self._what}"), opened(self._path, os.O_RDONLY) as fd:
            end = whole_size(fd, os.fstat(fd).st_size)
            yield from (line for _, line in backwards(fd, end))

    def _own(self, fd: int, size: int) -> None:
        if size + self._reserve // 2 > self._reserved:
            owned = reserve(fd, size, self._reserve)
            self._reserved = size + self._reserve if owned else 0  # if that failed, the next line tries again


def whole_size(fd: int, size: int) -> int:
    """Return the end of the last whole line."""
    end = size
    while end:
        begin = max(0, end - _BLOCK)
        at = os.pread(fd, end - begin, begin).rfind(b"\n")
        if at >= 0:
            return begin + at + 1
        end = begin
    return 0


def backwards(fd: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that end at or before `end`, last first, each with the offset of its beginning."""
    rest = b""
    while end:
        begin = max(0, end - _BLOCK)
        rest = os.pread(fd, end - begin, begin) + rest
        end = begin
        lines = rest.splitlines(keepends=True)
        at = begin + len(rest)
        for line in reversed(lines[1:] if begin else lines):
            at -= len(line)
            yield at, line
        rest = lines[0] if begin and lines else b""
