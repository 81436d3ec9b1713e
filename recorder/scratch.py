"""Folders for what must lie in the clear for a moment: on tmpfs, private, gone afterwards also if we were killed."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from recorder.errors import NotPossible

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - tmpfs on every Linux; what is made there is private and unguessable
MEMORY_FILE_SYSTEMS = (0x01021994, 0x858458F6)  # TMPFS_MAGIC, RAMFS_MAGIC (statfs(2))
_WORDS = 64  # longs; struct statfs has 15 on 64-bit machines


def in_memory(folder: Path) -> bool:
    """Say whether a folder lies on a file system that has no disk."""
    found = (ctypes.c_long * _WORDS)()
    if ctypes.CDLL(None, use_errno=True).statfs(str(folder).encode(), found) != 0:
        return False
    return found[0] & 0xFFFF_FFFF in MEMORY_FILE_SYSTEMS


class Scratch:
    """Makes such folders for one daemon."""

    def __init__(self, runtime_dir: Path, others: Sequence[Path] = (SHARED_MEMORY,)) -> None:
        """Use the runtime directory if it is on tmpfs, as it should be, else the first of the others that is."""
        self._places = (runtime_dir, *others)
        self._prefix = f"recorder-{hashlib.sha256(str(runtime_dir.resolve()).encode()).hexdigest()[:12]}-"

    def sweep(self) -> None:
        """Remove what a killed process left; call it when no other process of this daemon runs."""
        for place in self._places:
            for left in place.glob(f"{self._prefix}*"):
                shutil.rmtree(left, ignore_errors=True)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Give a folder that is removed with everything in it; raises NotPossible where there is no tmpfs."""
        place = next((each for each in self._places if in_memory(each)), None)
        if place is None:
            hint = "put [node] runtime_dir on tmpfs"
            raise NotPossible("Nothing may lie in the clear on a disk, and there is no tmpfs.", hint)
        made = Path(tempfile.mkdtemp(prefix=self._prefix, dir=place))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)
