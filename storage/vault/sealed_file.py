"""Sealed files that are written in pieces (exports and attachments); only ciphertext reaches the disk."""

import os
from collections.abc import Callable
from types import TracebackType

from storage.files.durable_files import Disk, disk_errors, write_all
from storage.vault.container import Sealer
from storage.vault.vault import PartRef, Vault

PART = "a1"
BLOCK = 1 << 20  # bytes sealed and written at once


class Sink:
    """A file-like object that takes the plaintext of a part; zipfile can write to it as to an unseekable file."""

    def __init__(
        self, vault: Vault, id: str, leaf: int, check: Callable[[], None] = lambda: None, *, part: str = PART
    ) -> None:
        """Create the file; `check` is called before each block and may raise. Raises PartExists, NoSpace, Forgotten."""
        self.size = 0
        # plaintext bytes so far
        self.ref: PartRef | None = None
        # the part, None until it is finished
        self._vault = vault
        self._place = (id, leaf, part)
        self._check = check
        made = vault.create(*self._place)
        self._fd = made.fd
        self._path = made.path
        self._sealer = Sealer(made.secret)
        self._at = self._sealer.sealed
        self._kept = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Add plaintext of any length."""
        self._kept += data
        self.size += len(data)
        if len(self._kept) >= BLOCK:
            self._pass_on()
        return len(data)

    def flush(self) -> None:
        """Do nothing; blocks are written when they are full."""

    def finish(self) -> int:
        """Seal the end, make the file durable and move it to its place; return the number of plaintext bytes."""
        self._pass_on()
        self._put(self._sealer.finish())
        with disk_errors("write a sealed file"):
            os.fsync(self._fd)
        self.close()
        self.ref = self._vault.finish(*self._place)
        Disk().sync_folder(self.ref.path.parent)
        return self.size

    def discard(self) -> None:
        """Delete the unfinished file."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the descriptor; an unfinished file stays unreadable until it is removed."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> "Sink":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _pass_on(self) -> None:
        if self._kept:
            self._check()
            self._put(self._sealer.add(bytes(self._kept)))
            self._kept.clear()

    def _put(self, cipher: bytes) -> None:
        if cipher:
            with disk_errors("write a sealed file"):
                write_all(self._fd, cipher, self._at)
            self._at += len(cipher)
