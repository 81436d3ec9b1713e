"""The files of a vault: their names, their order, and the associated data that binds each part to its place."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from storage.files.durable_files import disk_errors
from storage.vault.container import CONTROL_SEGMENT, MEDIA_SEGMENT, PartSecret, Reader

OPEN = "open"  # folder of the parts being written
STORED = "stored"  # folder of pointers to parts that are both here and in an object store
LABEL = {"c": "media", "m": "media", "a": "attachment"}  # kind of part → label of its input key
SEGMENT = {"c": CONTROL_SEGMENT, "m": MEDIA_SEGMENT, "a": MEDIA_SEGMENT}  # kind of part → bytes of a full segment
_ORDER = {"c": 0, "m": 1, "a": 2}
_NAME = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([0-9a-f]{12})\.([cma][1-9][0-9]{0,8})", re.ASCII)


@dataclass(frozen=True, slots=True)
class PartRef:
    """The name of one part."""

    call: str
    # lower-case uuid4
    leaf: int
    # 48 bits
    part: str
    # "c1", "m1", "a1"…
    path: Path
    # path when this reference was made; a part moves once, when it is finished

    @property
    def finished(self) -> bool:
        """Return whether the part is finished, and so will never be written again."""
        return self.path.parent.name != OPEN


@dataclass(frozen=True, slots=True)
class Draft:
    """A part to be created, prepared as far as is possible without the disk."""

    place: str
    # path in open/
    final: str
    # path once it is finished
    header: bytes
    # first bytes of the file
    secret: PartSecret
    # for a Sealer


@dataclass(frozen=True, slots=True)
class NewPart:
    """A part that was just created, with its header written."""

    place: str
    # path in open/, as text, because pathlib would intern a name that no other call has
    fd: int
    # descriptor for reading and writing, at the end of the header; the caller closes it
    secret: PartSecret
    # for a Sealer

    @property
    def path(self) -> Path:
        """Return the path of the file."""
        return Path(self.place)


@dataclass(frozen=True, slots=True)
class OpenPart:
    """A part opened for reading; close it, or use it in a `with` statement."""

    fd: int
    # read-only descriptor
    secret: PartSecret
    # for a Reader
    size: int
    # size of the file in bytes when it was opened
    finished: bool
    # whether it is finished and so never grows

    def reader(self) -> Reader:
        """Return a reader of the bytes that the part had when it was opened."""
        return Reader(self.secret, self.size, lambda offset, length: read_at(self.fd, offset, length))

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)

    def __enter__(self) -> "OpenPart":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def associated_data(customer: str, call: str, leaf: int, part: str) -> bytes:
    """Return the associated data that binds a part to its place (docs/formats/container.md)."""
    return b"siprec-recorder/1\0" + f"{customer}\0{call}\0{leaf:012x}\0{part}".encode("ascii")


def file_name(call: str, leaf: int, part: str) -> str:
    """Return the name of a part's file; raise ValueError if the arguments cannot name a part."""
    name = f"{call}.{leaf:012x}.{part}"
    if not _NAME.fullmatch(name):
        raise ValueError("this is not the name of a part")
    return name


def names(folder: Path) -> list[str]:
    """List a folder; return [] if it does not exist."""
    with disk_errors("list the parts of recordings"):
        try:
            return os.listdir(folder)
        except FileNotFoundError:
            return []


def refs(folder: Path) -> Iterator[PartRef]:
    """Yield the parts in a folder, unordered."""
    for name in names(folder):
        match = parse(name)
        if match:
            yield PartRef(match[1], int(match[2], 16), match[3], folder / name)


def parse(name: str) -> re.Match[str] | None:
    """Match the name of a part's file: call, leaf, part."""
    return _NAME.fullmatch(name)


def order(ref: PartRef) -> tuple[str, int, int, int]:
    """Return the sort key: by recording, then control, media and attachments, each by number."""
    return ref.call, ref.leaf, _ORDER[ref.part[0]], int(ref.part[1:])


def read_at(fd: int, offset: int, length: int) -> bytes:
    """Read up to `length` bytes, fewer only where the file ends."""
    with disk_errors("read a part of a recording"):
        data = os.pread(fd, length, offset)
        while 0 < len(data) < length:
            more = os.pread(fd, length - len(data), offset + len(data))
            if not more:
                break
            data += more
    return data
