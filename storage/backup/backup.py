"""Backup of a data directory, without keys/, while the recorder runs.

A start can bring an older database up to date with newer recordings and a newer journal, but not the other way round.
So the databases are copied first, then the parts that are being written (finished ones move to the folder of their
day), then finished parts, then everything else, the checkpoints of an audit log before the log.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from storage.audit.audit_files import LOG_NAME, MARKS_NAME
from storage.backup.copying import DRAFT, Copier, Print, Unreadable, print_of
from storage.backup.generations import MANIFEST, STATE, Folder, Head, Manifest, ManifestWriter, Prints
from storage.customer.settings import CUSTOMERS, KEYS, VAULT
from storage.database.database import FILE_NAME as DATABASE
from storage.errors import NoSpace
from storage.exports.exports import FOLDER as EXPORTS
from storage.files.durable_files import PRIVATE_FILE, disk_errors
from storage.files.reserved_space import Space
from storage.journal.journal import FILE_NAME as JOURNAL
from storage.timestamps import to_text
from storage.vault.parts import OPEN

NOT_KEPT = frozenset({KEYS, "lost+found"})
"""Entries of a data directory that no backup contains; hidden files (locks, drafts and the like) are skipped too."""
SPARE = 64 << 20  # bytes that must stay free on the disk of the backup
_PAGES = 1024  # pages of a database that are copied at once
_LINES = frozenset({LOG_NAME, MARKS_NAME, JOURNAL})
_BESIDE_DATABASE = tuple(f"{DATABASE}-{kind}" for kind in ("wal", "shm", "journal"))
_OF_CUSTOMER, _OF_DAY = 2, 4  # names in customers/NAME and customers/NAME/vault/DAY

Watch = Callable[[int, int], None]
"""Called with the number of bytes done so far, and of all bytes."""


@dataclass(frozen=True, slots=True)
class CopySource:
    """The data to back up."""

    data_dir: Path
    """The data directory."""
    customers: Mapping[str, str]
    """Name and public key of each customer whose keys can be opened."""
    database: str
    """"sqlite", or "elsewhere" if the databases are not in the data directory."""


@dataclass(frozen=True, slots=True)
class Made:
    """The result of a backup."""

    generation: int
    """Number of the generation."""
    bytes: int
    """Bytes of everything in it."""
    copied: int
    """Bytes that had to be copied."""
    faults: list[str]
    """A sentence about each file that could not be backed up as it should be."""


def back_up(source: CopySource, folder: Folder, at: datetime, keep: int, watch: Watch) -> Made:
    """Add a generation to a backup, and remove all but the newest `keep`. Raises StorageError."""
    with folder.locked(writing=True):
        folder.claim(source.customers)
        number, place = folder.begin()
        before = folder.complete()
        known = folder.manifest(before[-1]) if before else None
        head = Head(number, to_text(at), source.customers, source.database)
        made = _Run(source, folder, place, known, watch).write(head)
        folder.finish(number, place)
        folder.drop(folder.complete()[:-keep])
        folder.sweep()
        return made


class _Run:
    """Writes one generation."""

    def __init__(self, source: CopySource, folder: Folder, place: Path, known: Manifest | None, watch: Watch) -> None:
        self._data, self._folder, self._place = source.data_dir, folder, place
        self._known, self._watch = known, watch
        self._state: Prints = {}
        self._faults: list[str] = []
        self._done = self._total = 0

    def write(self, head: Head) -> Made:
        """Copy everything, make it durable, and write the manifest last; return the result."""
        self._make_sure_it_fits()
        manifest = ManifestWriter(self._place / MANIFEST, head)
        try:
            with Copier(self._folder.path, self._progress) as copier, disk_errors("write the backup"):
                for path in self._databases():
                    self._database(copier, path)
                self._all(copier, [file for file in _files(self._data, "") if _is_open(file)])
                for name in _days(self._data):
                    manifest.recordings(name, self._day(copier, name))
                # In sorted order, an audit log's checkpoints come before the log, which has every entry they name.
                self._all(copier, sorted(file for file in _files(self._data, "") if not _is_open(file)))
                manifest.end(self._state)
                copier.settle()
        finally:
            manifest.close()
        return Made(head.generation, manifest.bytes, self._done, self._faults)

    def _progress(self, more: int) -> None:
        self._done += more
        self._watch(min(self._done, self._total), self._total)

    def _make_sure_it_fits(self) -> None:
        """Add up what must be copied; raise NoSpace, before anything is copied, if it does not fit."""
        with disk_errors("read the data directory"):
            for name in _days(self._data):
                there = _sizes(self._copy_of(name))
                self._total += sum(size for file, size in _sizes(self._data / name).items() if file not in there)
            for file in [*_files(self._data, ""), *(str(p.relative_to(self._data)) for p in self._databases())]:
                self._total += max(0, _size(self._data / file))
            free = Space.of(self._folder.path).free
        if self._total + SPARE > free:
            problem = f"the backup needs {self._total:,} bytes and {SPARE:,} to spare; {free:,} are free"
            raise NoSpace(problem, "make room there, keep fewer generations, or use another disk")

    # --- recordings --------------------------------------------------------------------------------------------------

    def _copy_of(self, name: str) -> Path:
        return self._folder.recordings / Path(name).relative_to(CUSTOMERS)

    def _day(self, copier: Copier, name: str) -> Prints:
        """Copy those finished parts of a day that the backup lacks; return all parts of the day."""
        known = self._known.files(name) if self._known else {}
        target, found = self._copy_of(name), Prints()
        there = _sizes(target)
        for file, size in sorted(_sizes(self._data / name).items()):
            if file in there:
                copy = known.get(file) or print_of(target / file)  # copied by an earlier, interrupted run
            else:
                copy = self._copied(copier, f"{name}/{file}", target / file)
            if copy is None:
                continue  # erased meanwhile, or a fault
            found[file] = copy
            if file in there and {copy.size, there[file]} != {size}:
                fault = "has another size than its copy, which stays: recorder verify says which of them is whole"
                self._faults.append(f"{name}/{file} {fault}")
            unfinished = f"{Path(name).parent}/{OPEN}/{file}"
            if self._state.pop(unfinished, None):  # the part was finished while the backup ran
                copier.flush()
                (self._place / STATE / unfinished).unlink(missing_ok=True)
        return found

    # --- everything else ---------------------------------------------------------------------------------------------

    def _all(self, copier: Copier, files: list[str]) -> None:
        for file in files:
            copy = self._copied(copier, file, self._place / STATE / file)
            if copy is not None:
                self._state[file] = copy

    def _copied(self, copier: Copier, file: str, target: Path) -> Print | None:
        """Copy one file and return its print; None if it is gone, or cannot be read, which is noted as a fault."""
        try:
            fd = os.open(self._data / file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as problem:
            self._faults.append(f"{file} cannot be read: {os.strerror(problem.errno or 0)}")
            return None
        try:
            return copier.copy(fd, target, lines=target.name in _LINES)
        except Unreadable as problem:
            self._faults.append(f"{file} cannot be read: {problem}")
            return None
        finally:
            os.close(fd)

    def _databases(self) -> list[Path]:
        return sorted((self._data / CUSTOMERS).glob(f"*/{DATABASE}"))

    def _database(self, copier: Copier, path: Path) -> None:
        """Copy a consistent state of a database that is in use."""
        file = str(path.relative_to(self._data))
        target = self._place / STATE / file
        draft = target.with_name(f".{target.name}{DRAFT}")
        copier.make_folder(target.parent)
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE))
        try:
            _copy_database(path, draft, self._progress)
        except sqlite3.Error as problem:
            draft.unlink()
            why = getattr(problem, "sqlite_errorname", type(problem).__name__)
            hint = "a start builds it again from the recordings and the journal"
            self._faults.append(f"{file} cannot be read ({why}): it is not in this backup; {hint}")
            return
        found = print_of(draft)
        if found is not None:
            self._state[file] = found
        copier.adopt(os.open(draft, os.O_RDWR | os.O_CLOEXEC), draft, target)


def _copy_database(path: Path, draft: Path, progress: Callable[[int], None]) -> None:
    """Copy the present state of a database without blocking writers; raises sqlite3.Error."""
    with (
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as source,
        closing(sqlite3.connect(draft)) as target,
    ):
        target.execute("PRAGMA journal_mode=OFF")
        target.execute("PRAGMA synchronous=OFF")  # the file is synced when it is whole
        source.execute("BEGIN")
        source.execute(
            "SELECT count(*) FROM sqlite_master"
        ).fetchone()  # takes a snapshot that later commits do not change
        (size,) = source.execute("PRAGMA page_size").fetchone()
        left = 0

        def copied(_: int, remaining: int, total: int) -> None:
            nonlocal left
            progress(((left or total) - remaining) * size)
            left = remaining

        source.backup(target, pages=_PAGES, progress=copied)


def _days(data: Path) -> Iterator[str]:
    """Yield the paths of the folders with finished parts, relative to the data directory, in a fixed order."""
    for customer in _names(data / CUSTOMERS):
        for kind in (EXPORTS, VAULT):
            days = (name for name in _names(data / CUSTOMERS / customer / kind) if _is_day(name))
            for day in sorted(days, key=int):
                if (data / CUSTOMERS / customer / kind / day).is_dir():
                    yield f"{CUSTOMERS}/{customer}/{kind}/{day}"


def _files(data: Path, within: str) -> Iterator[str]:
    """Yield the paths of all files but finished parts, databases and drafts, relative to the data directory."""
    for name in _names(data / within):
        path = f"{within}/{name}" if within else name
        if (data / path).is_dir():
            if not (_skipped(within, name) or _of_a_day(path)):
                yield from _files(data, path)
        elif not _skipped(within, name) and (data / path).is_file():
            yield path


def _skipped(within: str, name: str) -> bool:
    if not within:
        return name in NOT_KEPT or name.startswith(".")
    draft = name.startswith(".")  # of a file that is being replaced; no other name there begins with a dot
    of_customer = len(Path(within).parts) == _OF_CUSTOMER and within.startswith(f"{CUSTOMERS}/")
    return draft or (of_customer and (name == DATABASE or name in _BESIDE_DATABASE))


def _of_a_day(path: str) -> bool:
    names = Path(path).parts
    return len(names) == _OF_DAY and names[0] == CUSTOMERS and names[2] in (EXPORTS, VAULT) and _is_day(names[3])


def _is_day(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def _is_open(file: str) -> bool:
    return Path(file).parent.name == OPEN


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sizes(folder: Path) -> dict[str, int]:
    """Return the files of a folder and their sizes."""
    found = {}
    for name in _names(folder):
        if not name.startswith(".") and (size := _size(folder / name)) >= 0:
            found[name] = size
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
