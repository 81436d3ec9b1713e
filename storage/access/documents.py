"""A small file of one customer that each change replaces as a whole, one change at a time: its tokens, its accounts.

    document.read()                    returns the content, None if it was never written
    document.change(change)            `change` takes the content and returns what replaces it, None for no change
    await document.changing(change)    the same, without blocking the event loop

With one node it is a file with a lock between processes. Where several nodes share a database it is a row there, and
the file is this node's copy (storage.access.shared_documents).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from storage.files.durable_files import Disk, alone, disk_errors

Cut = Callable[..., object]
"""Cuts the leaves that are its arguments."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """What replaces a document."""

    content: bytes = field(repr=False)
    """The whole new content."""
    cut: tuple[int, ...] = ()
    """Leaves that are cut first, so that removed entries open in no copy of the document."""


Change = Callable[[bytes | None], Replacement | None]
"""Takes the content and returns what replaces it, None for no change. Runs once, in any thread; may raise to refuse."""


class Document(Protocol):
    """A small file, wherever it is kept."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    def signature(self) -> tuple[int, ...] | None:
        """Return a value that changes whenever the content may have; None if there is no content. Raises DiskFailed."""
        ...

    def read(self) -> bytes | None:
        """Return the content, None if there is none. Raises DiskFailed."""
        ...

    def change(self, change: Change) -> None:
        """Replace the content by what `change` returns. Raises what it raises, NoSpace, DiskFailed, DatabaseAway."""
        ...

    async def changing(self, change: Change) -> None:
        """Do the same without blocking the event loop."""
        ...


class FileDocument:
    """A document that this node alone has: a file under a lock between its processes."""

    def __init__(self, folder: Path, name: str, what: str, cut: Cut | None = None, disk: Disk | None = None) -> None:
        """`what`: the word for the document in messages. `cut`: cuts leaves, if changes ask for that."""
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
