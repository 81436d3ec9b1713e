"""A small file of one customer that is replaced as a whole, by one change at a time: its tokens, its accounts.

    document.read()                    as it is now; None if it was never written
    document.change(change)            `change` is given what is stored and returns what replaces it, None for nothing
    await document.changing(change)    the same for whoever must not wait

With one node it is a file under a lock between processes. Where several nodes share a database, it is a row there, and
the file is the copy of this node (storage.access.shared_documents).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from storage.files.durable_files import Disk, alone, disk_errors

Cut = Callable[..., object]
"""Forgets leaves for good, given as arguments."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """What replaces a document."""

    content: bytes = field(repr=False)
    """The whole of it."""
    cut: tuple[int, ...] = ()
    """Leaves whose keys are deleted first, so that what is gone opens in no copy."""


Change = Callable[[bytes | None], Replacement | None]
"""Takes what is stored; runs in any thread, once, and raises if nothing is to be changed."""


class Document(Protocol):
    """A small file, wherever it is kept."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    def signature(self) -> tuple[int, ...] | None:
        """Return a value that differs whenever `read` may; None if there is nothing. Raises DiskFailed."""
        ...

    def read(self) -> bytes | None:
        """Return what is stored, None if nothing is. Raises DiskFailed."""
        ...

    def change(self, change: Change) -> None:
        """Replace it by what `change` returns. Raises NoSpace, DiskFailed, DatabaseAway, and what `change` raises."""
        ...

    async def changing(self, change: Change) -> None:
        """Do the same without blocking the event loop."""
        ...


class FileDocument:
    """A document that this node alone has: a file under a lock between its processes."""

    def __init__(self, folder: Path, name: str, what: str, cut: Cut | None = None, disk: Disk | None = None) -> None:
        """`what`: the word for it in messages; `cut` deletes keys, where its changes ask for that."""
        self.name = name
        self.what = what
        self._path = folder / name
        self._lock = folder / f".{name}.lock"
        self._cut = cut
        self._disk = disk or Disk()

    def signature(self) -> tuple[int, ...] | None:
        """Return inode, time and size: the file is never changed in place."""
        with disk_errors(f"look at the {self.what}"):
            try:
                status = os.stat(self._path)
            except FileNotFoundError:
                return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def read(self) -> bytes | None:
        """Read the file."""
        return self._disk.read(self._path)

    def change(self, change: Change) -> None:
        """Replace the file durably."""
        with alone(self._lock, f"change the {self.what}"):
            made = change(self._disk.read(self._path))
            if made is None:
                return
            if made.cut and self._cut is not None:
                self._cut(*made.cut)  # first, so that nothing opens it even if the disk is full
            self._disk.replace(self._path, made.content)

    async def changing(self, change: Change) -> None:
        """Wait for the disk in a thread."""
        import asyncio  # who reads the names of roles, as the configuration does, needs none

        await asyncio.to_thread(self.change, change)
