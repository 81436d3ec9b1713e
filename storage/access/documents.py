"""A small file of one customer, such as tokens or accounts; each change replaces it as a whole, one at a time.

    document.read()                    returns the content, None if it was never written
    document.change(change)            `change` takes the content and returns its replacement, None for no change
    await document.changing(change)    the same, without blocking the event loop

With one node, it is a file with a lock between processes. If several nodes share a database, it is a row there, and the
file is this node's copy (storage.access.shared_documents).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from storage.files.durable_files import Disk, alone, disk_errors

Cut = Callable[..., object]
"""Cuts the leaves that are passed as arguments."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """The replacement of a document."""

    content: bytes = field(repr=False)
    """The whole new content."""
    cut: tuple[int, ...] = ()
    """Leaves to cut first, so that no copy of the document opens the removed entries."""


Change = Callable[[bytes | None], Replacement | None]
"""Takes the content and returns its replacement, None for no change. Runs once, in any thread; may raise to refuse."""


class Document(Protocol):
    """A small document, kept in a file or in a database."""

    @property
    def name(self) -> str:
        """Name of the document."""
        ...

    def signature(self) -> tuple[int, ...] | None:
        """Return a value that changes if the content may have changed; None without content. Raises DiskFailed."""
        ...

    def read(self) -> bytes | None:
        """Return the content, None if there is none. Raises DiskFailed."""
        ...

    def change(self, change: Change) -> None:
        """Replace the content by the result of `change`. Raises its errors, NoSpace, DiskFailed, DatabaseAway."""
        ...

    async def changing(self, change: Change) -> None:
        """Replace the content as `change` does, without blocking the event loop."""
        ...


class FileDocument:
    """A document of a single node: a file that its processes change under a lock."""

    def __init__(self, folder: Path, name: str, what: str, cut: Cut | None = None, disk: Disk | None = None) -> None:
        """Take `what`, the word for the document in messages, and `cut`, which cuts leaves if changes ask for that."""
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
                self._cut(*made.cut)  # first, so that removed entries do not open even if the disk is full
            self._disk.replace(self._path, made.content)

    async def changing(self, change: Change) -> None:
        """Replace the file durably, in a thread."""
        import asyncio  # not at the top: the configuration imports this module for the names of roles

        await asyncio.to_thread(self.change, change)
