"""Sealed parts of made-up calls, for the tests of rendering."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from storage.vault.container import MEDIA_SEGMENT, PartSecret, Sealer, new_part


@dataclass
class Part:
    """What storage.vault.vault hands out."""

    fd: int
    secret: PartSecret
    size: int
    finished: bool = True


def seal(stored: bytes, *, finished: bool = True) -> tuple[bytes, PartSecret]:
    """Seal records as a media part; unfinished: only whole segments."""
    header, secret = new_part(bytes(32), b"test", MEDIA_SEGMENT, os.urandom)
    sealer = Sealer(secret)
    body = sealer.add(stored)
    return header + body + (sealer.finish() if finished else b""), secret


@contextmanager
def part_of(
    folder: Path, name: str, stored: bytes, *, finished: bool = True, spoil: int | None = None
) -> Iterator[Part]:
    """Write a part and open it; `spoil` flips a bit of that byte, a negative number cuts the end off."""
    file, secret = seal(stored, finished=finished)
    if spoil is not None:
        file = file[:spoil] if spoil < 0 else file[:spoil] + bytes([file[spoil] ^ 1]) + file[spoil + 1 :]
    path = folder / name
    path.write_bytes(file)
    fd = os.open(path, os.O_RDONLY)
    try:
        yield Part(fd, secret, len(file), finished)
    finally:
        os.close(fd)


@contextmanager
def output(folder: Path, name: str = "out") -> Iterator[tuple[int, Path]]:
    """Open an empty file to write."""
    path = folder / name
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        yield fd, path
    finally:
        os.close(fd)
