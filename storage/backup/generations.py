"""The folder of a backup: recordings, which never change and are kept once, and a generation for each run.

    PATH/backup.json                         whose backup this is
    PATH/recordings/CUSTOMER/vault/DAY/…     finished recordings of all generations
    PATH/generations/7/manifest.jsonl        the list of files in a data directory of this generation
    PATH/generations/7/state/…               those files, except recordings
    PATH/generations/.8/…                    a generation that is being written, or that a crash left

docs/formats/backup.md has the format.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from storage.backup.copying import Print
from storage.errors import StorageError
from storage.files.durable_files import Disk, disk_errors
from storage.json_bytes import ascii_json

FORMAT = "siprec-recorder/1 backup"
OWNER = "backup.json"
RECORDINGS = "recordings"
GENERATIONS = "generations"
MANIFEST = "manifest.jsonl"
STATE = "state"
_LOCK = "lock"
_OURS = frozenset({OWNER, RECORDINGS, GENERATIONS, _LOCK, f".{OWNER}.part", "lost+found"})
_SAFE = re.compile(r"(?!\.{1,2}(/|$))[^/\0]+(/(?!\.{1,2}(/|$))[^/\0]+)*")

Prints = dict[str, Print]
"""Files of one folder by name, or of several by path."""


class BackupError(StorageError):
    """A backup cannot be made here, or cannot be restored."""


class BackupDamaged(BackupError):
    """Files of a backup were changed after they were written."""


class BackupForeign(BackupError):
    """The folder does not hold a backup of this installation."""


class BackupBusy(BackupError):
    """Another process uses this backup."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first line of a manifest."""

    generation: int
    """Number of the generation, from 1."""
    at: str
    """When it was begun, RFC 3339."""
    customers: Mapping[str, str]
    """Name of each customer whose keys could be opened, and its public key, hexadecimal."""
    database: str
    """"sqlite", or "elsewhere" if the databases are not in the backup."""


class Folder:
    """The folder of a backup."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recordings = path / RECORDINGS
        self._generations = path / GENERATIONS

    @contextmanager
    def locked(self, *, writing: bool) -> Iterator[None]:
        """Lock the backup against other processes; with `writing` false the folder may be read-only.

        Raises BackupBusy, DiskFailed.
        """
        with disk_errors("lock the backup"):
            try:
                flags = os.O_RDWR | os.O_CREAT if writing else os.O_RDONLY
                fd = os.open(self.path / _LOCK, flags | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                hint = "name the folder that recorder backup wrote"
                raise BackupForeign(f"{self.path} holds no backup", hint) from None
        try:
            try:
                fcntl.flock(fd, (fcntl.LOCK_EX if writing else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except BlockingIOError:
                hint = "wait until it has ended"
                raise BackupBusy("another recorder backup or restore uses this folder", hint) from None
            yield
        finally:
            os.close(fd)

    def claim(self, customers: Mapping[str, str]) -> None:
        """Note in a new backup that it belongs to these customers, or check that an existing one does.

        Raises BackupError without changing anything.
        """
        other = "choose an empty folder, or the one of this recorder"
        with disk_errors("read the backup"):
            there = {entry.name for entry in self.path.iterdir()}
        data = Disk().read(self.path / OWNER)
        if data is None:
            if there - _OURS or RECORDINGS in there or GENERATIONS in there:
                raise BackupForeign(f"{self.path} holds other files than a backup", other)
            known: dict[str, str] = {}
        else:
            known = _owners(data)
            same = [name for name, key in customers.items() if known.get(name) == key]
            if not same or any(known.get(name, key) != key for name, key in customers.items()):
                raise BackupForeign(f"{self.path} holds the backup of another installation", other)
        if {**known, **customers} != known:
            owners = ascii_json({"format": FORMAT, "customers": dict(sorted({**known, **customers}.items()))})
            Disk().replace(self.path / OWNER, owners + b"\n")

    def complete(self) -> list[int]:
        """Return the numbers of all generations that are complete, oldest first."""
        return sorted(int(name) for name in self._names() if name.isascii() and name.isdecimal())

    def place(self, generation: int) -> Path:
        """Return the folder of a complete generation."""
        return self._generations / str(generation)

    def manifest(self, generation: int) -> "Manifest":
        """Read the manifest of a complete generation; raises BackupDamaged."""
        return Manifest(self.place(generation) / MANIFEST)

    def begin(self) -> tuple[int, Path]:
        """Make an empty folder for the next generation; return the generation's number and the folder."""
        number = max(self.complete(), default=0) + 1
        place = self._generations / f".{number}"
        with disk_errors("begin a backup"):
            shutil.rmtree(place, ignore_errors=True)  # recordings that an earlier try copied stay where they are
        Disk().make_folder(place / STATE)
        return number, place

    def finish(self, number: int, place: Path) -> None:
        """Make a generation complete by renaming its folder; everything in it must be durable."""
        with disk_errors("finish a backup"):
            place.rename(self.place(number))
        Disk().sync_folder(self._generations)

    def drop(self, generations: Iterable[int]) -> None:
        """Remove generations; a crash never leaves a part of one."""
        with disk_errors("remove old backups"):
            for number in generations:
                gone = self._generations / f".old-{number}"
                self.place(number).rename(gone)
            Disk().sync_folder(self._generations)
            for left in self._generations.glob(".old-*"):
                shutil.rmtree(left, ignore_errors=True)

    def sweep(self) -> None:
        """Remove recordings that no complete generation has, and drafts that a crash left."""
        kept: dict[str, list[Manifest]] = {}
        for number in self.complete():
            manifest = self.manifest(number)
            for name in manifest.folders:
                kept.setdefault(name, []).append(manifest)
        with disk_errors("remove recordings that no backup needs"):
            for place, _, names in os.walk(self.recordings):
                folder = Path(place)
                within = str(PurePosixPath("customers") / folder.relative_to(self.recordings))
                wanted = {name for manifest in kept.get(within, ()) for name in manifest.files(within)}
                for name in names:
                    if name not in wanted:
                        (folder / name).unlink()

    def _names(self) -> list[str]:
        with disk_errors("read the backup"):
            try:
                return os.listdir(self._generations)
            except FileNotFoundError:
                return []


class ManifestWriter:
    """Writes the manifest of one generation."""

    def __init__(self, path: Path, head: Head) -> None:
        self._file: BinaryIO = path.open("xb")
        self._digest = hashlib.sha256()
        self.files = self.bytes = 0
        first = {"generation": head.generation, "at": head.at, "database": head.database}
        self._line({"format": FORMAT, **first, "customers": dict(head.customers)})

    def recordings(self, folder: str, files: Prints) -> None:
        """Add the finished recordings of a folder."""
        if files:
            self._count(files)
            self._line({"folder": folder, "files": _packed(files)})

    def end(self, state: Prints) -> None:
        """Add everything else, and the last line, without which the manifest is not complete."""
        self._count(state)
        self._line({"state": _packed(state)})
        self._line({"files": self.files, "bytes": self.bytes, "sha256": self._digest.hexdigest()})
        self._file.close()

    def close(self) -> None:
        """Close the file, whether it is complete or not."""
        self._file.close()

    def _count(self, files: Prints) -> None:
        self.files += len(files)
        self.bytes += sum(each.size for each in files.values())

    def _line(self, value: Any) -> None:
        line = ascii_json(value) + b"\n"
        self._digest.update(line)
        self._file.write(line)


class Manifest:
    """The manifest of a complete generation; keeps only the place of each folder's line, not its files."""

    def __init__(self, path: Path) -> None:
        """Read and check the manifest; raises BackupDamaged, DiskFailed."""
        self._path = path
        self.folders: dict[str, int] = {}
        """Folders of recordings, and where their lines begin."""
        self.state: Prints = {}
        """All other files by path."""
        self.bytes = self.count = 0
        try:
            with disk_errors("read the backup"), path.open("rb") as file:
                self.head = self._read(file)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise BackupDamaged(f"{path} is damaged", "restore another generation") from None

    def files(self, folder: str) -> Prints:
        """Return the recordings of one folder."""
        at = self.folders.get(folder)
        if at is None:
            return {}
        with disk_errors("read the backup"), self._path.open("rb") as file:
            file.seek(at)
            return _unpacked(json.loads(file.readline())["files"])

    def _read(self, file: BinaryIO) -> Head:
        digest, last = hashlib.sha256(), b""
        first = file.readline()
        head = _head(json.loads(first))
        digest.update(first)
        at = len(first)
        for line in file:
            last = line
            if line.startswith(b'{"folder":'):
                found = json.loads(line)
                self._admit(_unpacked(found["files"]))
                self.folders[_safe(found["folder"])] = at
            elif line.startswith(b'{"state":'):
                self.state = _unpacked(json.loads(line)["state"])
                self._admit(self.state)
            else:
                break
            digest.update(line)
            at += len(line)
        end = json.loads(last)
        if end != {"files": self.count, "bytes": self.bytes, "sha256": digest.hexdigest()} or file.read(1):
            raise ValueError
        return head

    def _admit(self, files: Prints) -> None:
        self.count += len(files)
        self.bytes += sum(each.size for each in files.values())


def _owners(data: bytes) -> dict[str, str]:
    try:
        found = json.loads(data)
        if found["format"] != FORMAT:
            raise ValueError
        return {str(name): str(key) for name, key in found["customers"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        problem = f"{OWNER} of the backup is damaged or of another version"
        raise BackupDamaged(problem, "choose another folder") from None


def _head(found: Any) -> Head:
    if found["format"] != FORMAT:
        raise ValueError
    customers = {_safe(name): str(key) for name, key in found["customers"].items()}
    return Head(int(found["generation"]), str(found["at"]), customers, str(found["database"]))


def _packed(files: Prints) -> dict[str, Any]:
    return {name: [files[name].size, files[name].digest] for name in sorted(files)}


def _unpacked(found: Any) -> Prints:
    return {_safe(name): Print(int(size), str(digest)) for name, (size, digest) in found.items()}


def _safe(path: Any) -> str:
    """Return a path if it stays below its folder; somebody else may have written the backup."""
    if not isinstance(path, str) or not _SAFE.fullmatch(path):
        raise ValueError
    return path
