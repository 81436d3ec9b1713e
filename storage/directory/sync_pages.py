"""The pages of a directory that a synchronisation has read so far, sealed; a killed one continues after the last page.

    {"version": 1, "leaf": N}                                   the first line
    base64 of {"changes": [[id, members, gone], …],             one sealed line a page, bound to source and number
               "next": link, "whole": …, "begun_at": RFC 3339}

The file has a leaf of its own. The leaf is cut when the synchronisation succeeds or fails, and when a user is deleted.
A torn last line is ignored. Pages are not synced to the disk: after a power cut they are read again.
"""

import base64
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from storage.directory.user import Change
from storage.errors import Forgotten, StorageError
from storage.files.durable_files import Disk, disk_errors, opened
from storage.keys import sealing
from storage.keys.cutter import Cutter, OwnKeys
from storage.timestamps import from_text, to_text

FILE_NAME = "directory.pages"
VERSION = 1
OLDEST = timedelta(hours=12)
"""Pages older than this are read again: the directory may have changed."""
MAX_BYTES = 512 << 20  # half a million users; further pages are not kept
MAX_HEAD = 200
_KIND = "directory.pages"


@dataclass(frozen=True, slots=True)
class Kept:
    """The pages that an unfinished synchronisation has read."""

    whole: bool
    """Whether the whole directory was asked for, not only its changes."""
    changes: tuple[Change, ...] = field(repr=False)
    """The changes of all pages so far."""
    next: str = field(repr=False)
    """Link of the next page."""


class DirectoryPages:
    """The file of one customer and directory; hold `DirectoryLink.alone` while writing it."""

    def __init__(self, folder: Path, keys: sealing.DeletableKeys, source: str, cutter: Cutter | None = None) -> None:
        self._cutter = cutter or OwnKeys(keys)
        self._path = folder / FILE_NAME
        self._keys = keys
        self._source = source
        self._disk = Disk()
        self._leaf = 0
        self._pages = 0
        self._size = 0  # bytes of the whole pages; the next page is written after them
        self._begun_at = ""

    def read(self, now: datetime) -> Kept | None:
        """Return the pages to continue from, None if none are usable; `keep` adds further pages after them."""
        try:
            pages = self._read()
            age = now - from_text(pages[0]["begun_at"])
            changes = tuple(_change(each) for page in pages for each in page["changes"])
            kept = Kept(pages[0]["whole"] is True, changes, str(pages[-1]["next"]))
        except (StorageError, ValueError, KeyError, TypeError, IndexError):
            return None
        if not timedelta() <= age <= OLDEST:
            return None
        self._pages, self._begun_at = len(pages), pages[0]["begun_at"]
        return kept

    async def keep(self, changes: Iterable[Change], next: str, *, whole: bool, now: datetime) -> None:
        """Add a page that is not the last one; raises NoSpace, DiskFailed."""
        if self._size > MAX_BYTES:
            return
        data = b""
        if not self._pages:
            await self.forget()
            self._leaf, self._begun_at = sealing.new_leaf(self._keys), to_text(now)
            data = json.dumps({"version": VERSION, "leaf": self._leaf}).encode() + b"\n"
        told = [[one.object_id, dict(one.members), one.gone] for one in changes]
        page = {"changes": told, "next": next, "whole": whole, "begun_at": self._begun_at}
        try:
            sealed = sealing.seal(self._keys, self._leaf, _KIND, f"{self._source} {self._pages}", page)
        except Forgotten:  # a user was deleted meanwhile, so what was read must not be kept
            return
        data += base64.b64encode(sealed) + b"\n"
        with disk_errors("keep a page of the directory"), opened(self._path, os.O_WRONLY | os.O_CREAT) as fd:
            self._disk.write(fd, data, self._size)  # overwrites half a page that a kill may have left
        self._pages, self._size = self._pages + 1, self._size + len(data)

    async def forget(self) -> None:
        """Delete the pages irrecoverably; raises NoSpace, DiskFailed."""
        leaves = self.leaves()
        if leaves:
            await self._cutter.cut(*leaves)
        self._disk.remove(self._path)
        self._pages = self._size = 0

    def leaves(self) -> Sequence[int]:
        """Return the leaf of the pages, unless it is cut already: deleting a user cuts it."""
        try:
            leaf = _leaf(next(self._lines(), b""))
        except (StorageError, ValueError, KeyError, TypeError):
            return ()
        return (leaf,) if self._keys.keeps(leaf) else ()

    def _read(self) -> list[Any]:
        """Return the whole pages; raises StorageError, ValueError, KeyError, TypeError."""
        lines = self._lines()
        head = next(lines, b"")
        self._leaf, self._size, pages = _leaf(head), len(head), list[Any]()
        for line in lines:
            sealed, number = base64.b64decode(line, validate=True), f"{self._source} {len(pages)}"
            pages.append(sealing.unseal(self._keys, self._leaf, _KIND, number, sealed))
            self._size += len(line) + 1
        return pages

    def _lines(self) -> Iterator[bytes]:
        """Yield the first line, and then the other whole lines without their line feeds."""
        with disk_errors("read a file of the data directory"):
            if not self._path.exists():
                return
            with self._path.open("rb") as file:
                yield file.readline(MAX_HEAD)
                yield from (line[:-1] for line in file if line.endswith(b"\n"))


def _leaf(head: bytes) -> int:
    told = json.loads(head)
    if told["version"] != VERSION:
        raise ValueError
    return int(told["leaf"])


def _change(told: Sequence[Any]) -> Change:
    id, members, gone = told
    return Change(id, {k: v if isinstance(v, str) else tuple(v) for k, v in members.items()}, gone=gone)
