"""A sealed file that is written by and by, an export or an attachment: plaintext in, only ciphertext on the disk."""

import os
from collections.abc import Callable
from types import TracebackType

from storage.files.durable_files import Disk, disk_errors, write_all
from storage.vault.container import Sealer
from storage.vault.vault import PartRef, Vault

PART = "a1"
BLOCK = 1 << 20  # bytes sealed and written at once


class Sink:
    """Takes the bytes of a part; also what zipfile needs of a file that cannot be rewound."""

    def __init__(
        self, vault: Vault, id: str, leaf: int, check: Callable[[], None] = lambda: None, *, part: str = PART
    ) -> None:
        """Make the file; `check` is called before each block and may raise. Raises PartExists, NoSpace, Forgotten."""
        self.size = 0
        # plaintext bytes taken so far
        self.ref: PartRef | None = None
        # the part, once it is finished
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
        """Take plaintext of any length."""
        self._kept += data
        self.size += len(data)
        if len(self._kept) >= BLOCK:
            self._pass_on()
        return len(data)

    def flush(self) -> None:
        """Do nothing: half a block is no reason to write."""

    def finish(self) -> int:
        """Seal the end, make everything durable, give the file its place; return the plaintext bytes."""
        self._pass_on()
        self._put(self._sealer.finish())
        with disk_errors("write a sealed file"):
            os.fsync(self._fd)
        self.close()
        self.ref = self._vault.finish(*self._place)
        Disk().sync_folder(self.ref.path.parent)
        return self.size

    def discard(self) -> None:
        """Take the unfinished file away."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the descriptor back; a file that was not finished stays unreadable until it is removed."""
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
