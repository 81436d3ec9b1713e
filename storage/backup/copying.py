"""Copying of files so that every file under its final name is whole and durable.

Files are copied to drafts; a batch of drafts is synced to the disk, and only then renamed. So after a crash or a power
cut, a file that has its name is whole.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from storage.errors import StorageError
from storage.files.append_log import whole_size
from storage.files.durable_files import PRIVATE_FILE, PRIVATE_FOLDER, disk_errors, write_all
from storage.vault.group_sync import has_syncfs, syncfs

BLOCK = 1 << 20  # bytes read at once
MOST_FILES = 256  # of a batch; each has an open descriptor
MOST_BYTES = 256 << 20  # of a batch; after a crash, at most this much is copied again
DRAFT = ".draft"


class Unreadable(StorageError):
    """A file that is to be copied cannot be read."""


Progress = Callable[[int], None]
"""Called with the number of bytes that were copied since the last call."""


@dataclass(frozen=True, slots=True)
class Print:
    """Size and digest, which identify the content of a file."""

    size: int
    """Bytes."""
    digest: str
    """SHA-256, hexadecimal."""


@dataclass(slots=True)
class Copier:
    """Copies files to one file system; use it in a `with` statement."""

    base: Path
    """Folder below which everything is written; it exists."""
    progress: Progress
    """Called as bytes are copied."""
    owner: tuple[int, int] | None = None
    """User and group that own the written files; None for those of this process."""
    _drafts: list[tuple[int, Path, Path]] = field(default_factory=list)
    _bytes: int = 0

    def __enter__(self) -> "Copier":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Delete the drafts that were not renamed; there are some only after a failure."""
        for fd, draft, _ in self._drafts:
            os.close(fd)
            with suppress(OSError):
                draft.unlink()
        self._drafts.clear()

    def copy(self, source: int, target: Path, *, lines: bool = False, wanted: Print | None = None) -> Print | None:
        """Copy the present content of an open file; return its print, or None if it differs from `wanted`.

        `lines`: copy only whole lines. The target gets its name at the next `flush`. Raises Unreadable, NoSpace and
        DiskFailed.
        """
        size = os.fstat(source).st_size
        if lines:
            size = whole_size(source, size)
        with disk_errors("write a copy"):
            self.make_folder(target.parent)
            draft = target.with_name(f".{target.name}{DRAFT}")
            fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
            self._drafts.append((fd, draft, target))
            if self.owner is not None:
                os.fchown(fd, *self.owner)
            try:
                found = self._move(source, fd, size)
            except Unreadable:
                self._take_back()
                raise
            if wanted is not None and found != wanted:
                self._take_back()
                return None
        self._bytes += found.size
        if len(self._drafts) >= MOST_FILES or self._bytes >= MOST_BYTES:
            self.flush()
        return found

    def adopt(self, fd: int, draft: Path, target: Path) -> None:
        """Take over a draft that the caller has written; the next `flush` renames it to `target` and closes `fd`."""
        self._drafts.append((fd, draft, target))

    def flush(self) -> None:
        """Make everything copied so far durable, then rename the drafts. Raises NoSpace, DiskFailed."""
        with disk_errors("write a copy"):
            if has_syncfs() and len(self._drafts) > 1:
                syncfs(self._drafts[0][0])
            while self._drafts:
                fd, draft, target = self._drafts[-1]
                os.fsync(fd)  # reports failures of this file; after syncfs it costs nothing
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                draft.rename(target)
                self._drafts.pop()
                os.close(fd)
        self._bytes = 0

    def settle(self) -> None:
        """Flush, and make all names durable."""
        self.flush()
        with disk_errors("write a copy"):
            fd = os.open(self.base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if has_syncfs():
                    syncfs(fd)
                else:
                    os.sync()
            finally:
                os.close(fd)

    def make_folder(self, path: Path) -> None:
        """Make a private folder, and those above it; raises OSError."""
        if path.is_dir():
            return
        self.make_folder(path.parent)
        path.mkdir(PRIVATE_FOLDER)
        if self.owner is not None:
            os.chown(path, *self.owner)

    def _take_back(self) -> None:
        fd, draft, _ = self._drafts.pop()
        os.close(fd)
        draft.unlink()

    def _move(self, source: int, target: int, size: int) -> Print:
        digest, at = hashlib.sha256(), 0
        os.posix_fadvise(source, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while at < size and (data := _read(source, min(BLOCK, size - at), at)):
            write_all(target, data, at)
            digest.update(data)
            at += len(data)
            self.progress(len(data))
        os.posix_fadvise(source, 0, 0, os.POSIX_FADV_DONTNEED)  # live calls need the memory more
        return Print(at, digest.hexdigest())


def _read(fd: int, size: int, at: int) -> bytes:
    try:
        return os.pread(fd, size, at)
    except OSError as problem:
        raise Unreadable(os.strerror(problem.errno or 0)) from None


def print_of(path: Path, progress: Progress = lambda _: None) -> Print | None:
    """Read a file and return its print, None if there is no such file. Raises DiskFailed."""
    with disk_errors("read a copy"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            digest, size = hashlib.sha256(), 0
            while data := os.pread(fd, BLOCK, size):
                digest.update(data)
                size += len(data)
                progress(len(data))
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            return Print(size, digest.hexdigest())
        finally:
            os.close(fd)
