"""Repair of parts that a crash left in open/: `storage.vault.torn_tail` on files, with few syncs for many parts."""

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from itertools import islice
from pathlib import Path

from storage.errors import DamagedPart, StorageError, Torn
from storage.files.durable_files import disk_errors, write_all
from storage.vault.container import HEADER, PartSecret, Sealer, open_part
from storage.vault.group_sync import has_syncfs, syncfs
from storage.vault.parts import PartRef, read_at
from storage.vault.torn_tail import Outcome, Recovery, recovering

MAX_OPEN = 256  # parts repaired at once; far below the usual limit of 1,024 descriptors


class RepairedFile:
    """The file of a part that is being repaired."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def size(self) -> int:
        """Return the size of the file in bytes."""
        return os.fstat(self.fd).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        return read_at(self.fd, offset, length)

    def write(self, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`."""
        with disk_errors("end a part of a recording"):
            write_all(self.fd, data, offset)

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes."""
        with disk_errors("end a part of a recording"):
            os.ftruncate(self.fd, size)


class Repair:
    """The repair of one part."""

    def __init__(
        self,
        ref: PartRef,
        path: Path,
        segment: int,
        input_key: Callable[[], tuple[bytes, bytes]],
        fresh: Callable[[], tuple[bytes, PartSecret]],
        committed: int | None,
    ) -> None:
        """`input_key` returns key and associated data of the part, `fresh` a header and secret for an empty part."""
        self.ref = ref
        self.fd = -1
        self.result: Recovery | StorageError | None = None
        self._path = path
        self._segment = segment
        self._input_key = input_key
        self._fresh = fresh
        self._committed = committed
        self._steps = self._run()

    def step(self) -> bool:
        """Continue to the next point at which all writes must be durable; return False if there is a result."""
        try:
            next(self._steps)
        except StopIteration as end:
            self.result = end.value
        except StorageError as error:
            self.result = error
        else:
            return True
        self.close()
        return False

    def close(self) -> None:
        """Close the descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def _run(self) -> Generator[None, None, Recovery]:
        with disk_errors("open a part of a recording"):
            self.fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        file = RepairedFile(self.fd)
        key, aad = self._input_key()
        try:
            secret = open_part(key, aad, file.read(0, HEADER), self._segment)
        except DamagedPart as error:
            if not isinstance(error, Torn) and any(file.read(0, self._segment + 1)):
                raise
            return (yield from self._empty(file))
        done = yield from recovering(secret, file, self._committed)
        if done.outcome is Outcome.EMPTY:
            return (yield from self._empty(file))
        return done

    def _empty(self, file: RepairedFile) -> Generator[None, None, Recovery]:
        """Replace a torn beginning by an empty part with a new header, so that no nonce is used twice."""
        dropped = file.size()
        header, secret = self._fresh()
        whole = header + Sealer(secret).finish()
        file.truncate(0)
        file.write(0, whole)
        yield
        return Recovery(Outcome.EMPTY, len(whole), dropped)


def run(repairs: Iterator[Repair]) -> Iterator[tuple[PartRef, Recovery | StorageError]]:
    """Carry out repairs and yield their results; each group of MAX_OPEN parts needs three or four syncs."""
    while group := list(islice(repairs, MAX_OPEN)):
        busy = group
        try:
            while busy := [repair for repair in busy if repair.step()]:
                _write_back(busy)
        finally:
            for repair in group:
                repair.close()
        yield from ((repair.ref, repair.result) for repair in group if repair.result)


def after(results: Mapping[PartRef, Recovery | StorageError], ref: PartRef) -> Recovery:
    """Return the result of one repair, or raise its error."""
    result = results[ref]
    if isinstance(result, StorageError):
        raise result
    return result


def _write_back(busy: list[Repair]) -> None:
    with disk_errors("write back recovered parts"):
        if has_syncfs() and len(busy) > 1:
            syncfs(busy[0].fd)
            return
        for repair in busy:
            os.fsync(repair.fd)
