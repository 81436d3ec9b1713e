"""A data directory with keys, and a disk that fails at any step, for tests of keys."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from storage.files.durable_files import Disk
from storage.keys.cut_log import Entry
from storage.keys.key_store import CustomerKeys, RootSecret
from storage.vault.container import Sealer
from storage.vault.vault import PartRef, Vault

ROOT = RootSecret(bytes(range(32)))
DAY = 20_000
CALL = "01234567-89ab-4cde-8f01-23456789abcd"


class Data:
    """A data directory with the keys of one customer."""

    def __init__(self, folder: Path, customer: str = "acme") -> None:
        self.folder, self.customer = folder, customer
        self.keys_dir, self.customer_dir = folder / "keys", folder / "customers" / customer

    def open(self, root: RootSecret = ROOT, disk: Disk | None = None) -> CustomerKeys:
        return CustomerKeys.open(self.keys_dir, self.customer_dir, self.customer, root, disk=disk)

    def create(self, root: RootSecret = ROOT, disk: Disk | None = None) -> CustomerKeys:
        return CustomerKeys.create(self.keys_dir, self.customer_dir, self.customer, root, disk=disk)

    def copy(self, to: Path) -> "Data":
        shutil.copytree(self.folder, to)
        return Data(to, self.customer)


def cut_days(keys: CustomerKeys, *days: int) -> bool:
    """Forget every leaf of these days, in one cut."""
    return keys.forget(Entry((), datetime.now(UTC), (), days))


class PowerCut(BaseException):
    """A simulated power failure."""


class FallibleDisk(Disk):
    """A disk that fails at the n-th step after a part of it; with `lose`, unsynced writes are lost."""

    def __init__(self, stop_at: int, kept: float = 0.0, lose: bool = False) -> None:
        self.left, self.kept, self.lose = stop_at, kept, lose
        self.unsynced: list[tuple[Path, bytes]] = []

    def write(self, fd: int, data: bytes, offset: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        self.unsynced.append((path, path.read_bytes()))
        if self._stops():
            super().write(fd, data[: int(len(data) * self.kept)], offset)
            self._cut()
        super().write(fd, data, offset)

    def sync(self, fd: int) -> None:
        if self._stops():
            self._cut()
        super().sync(fd)
        self.unsynced.clear()

    def rename(self, old: Path, new: Path) -> None:
        if self._stops():
            self._cut()
        super().rename(old, new)

    def _stops(self) -> bool:
        self.left -= 1
        return self.left < 0

    def _cut(self) -> None:
        for path, before in reversed(self.unsynced if self.lose else []):
            path.write_bytes(before)
        raise PowerCut


def write_part(data: Data, keys: CustomerKeys, leaf: int, part: str, plain: bytes) -> PartRef:
    vault = Vault(data.customer_dir / "vault", data.customer, keys)
    new = vault.create(CALL, leaf, part)
    os.write(new.fd, Sealer(new.secret).finish(plain))
    os.close(new.fd)
    return vault.finish(CALL, leaf, part)


def read_part(data: Data, keys: CustomerKeys, leaf: int) -> bytes:
    vault = Vault(data.customer_dir / "vault", data.customer, keys)
    return b"".join(piece for ref in vault.parts(CALL, leaf) for piece in vault.read(ref))
