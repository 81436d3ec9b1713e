"""The link from which the next synchronisation of a directory continues: one small sealed file for each customer.

    {"version": 1, "sealed": base64 of {"link": …, "synced_at": RFC 3339}}

The link contains no personal data, but with a token it opens the directory's list of changes, so it is sealed. If the
file is lost or damaged, the next synchronisation reads the whole directory; nothing else is lost.
"""

import base64
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from storage.errors import StorageError
from storage.files.durable_files import Disk, disk_errors, opened
from storage.keys import sealing
from storage.keys.key_tree import LAST_LEAF

FILE_NAME = "directory.link"
VERSION = 1
_KIND = "directory.link"


@dataclass(frozen=True, slots=True)
class Link:
    """The link that the last synchronisation stored."""

    link: str = field(repr=False)
    """Link at which the directory reports what has changed since."""
    synced_at: str
    """When it ended, RFC 3339."""


@contextmanager
def alone(lock: Path) -> Iterator[bool]:
    """Lock a file that one process at a time can hold; yield False if another holds it. Raises DiskFailed."""
    with ExitStack() as held:
        with disk_errors("lock the work on the directory"):
            fd = held.enter_context(opened(lock, os.O_RDWR | os.O_CREAT))
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                ours = True
            except BlockingIOError:
                ours = False
        yield ours


class DirectoryLink:
    """The file of one customer and directory."""

    def __init__(self, folder: Path, keys: sealing.DeletableKeys, source: str) -> None:
        self._path = folder / FILE_NAME
        self._lock = folder / f".{FILE_NAME}.lock"
        self._keys = keys
        self._source = source
        self._disk = Disk()

    def alone(self) -> AbstractContextManager[bool]:
        """Hold the right to synchronise; yield False if another process has it. Raises DiskFailed."""
        return alone(self._lock)

    def read(self) -> Link | None:
        """Return the stored link, None if none is usable."""
        try:
            outer = json.loads(self._disk.read(self._path) or b"")
            if outer["version"] != VERSION:
                return None
            inner = sealing.unseal(self._keys, LAST_LEAF, _KIND, self._source, base64.b64decode(outer["sealed"]))
            return Link(str(inner["link"]), str(inner["synced_at"]))
        except (StorageError, ValueError, KeyError, TypeError):
            return None

    def write(self, link: Link) -> None:
        """Replace the link durably; raises NoSpace, DiskFailed."""
        inner = {"link": link.link, "synced_at": link.synced_at}
        sealed = sealing.seal(self._keys, LAST_LEAF, _KIND, self._source, inner)
        document = {"version": VERSION, "sealed": base64.b64encode(sealed).decode()}
        self._disk.replace(self._path, json.dumps(document).encode())
