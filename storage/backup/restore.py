"""Restore of a backup's generation into an empty data directory.

Everything is copied to `.restore/` in the data directory, compared with the manifest, made durable, and then renamed
into place, `customers/` last. A restore that was killed continues with the files that are whole.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from storage.backup.backup import NOT_KEPT, SPARE, Watch
from storage.backup.copying import DRAFT, Copier, Print, Unreadable, print_of
from storage.backup.generations import MANIFEST, STATE, BackupError, BackupForeign, Folder
from storage.customer.settings import CUSTOMERS, KEYS
from storage.errors import NoSpace
from storage.files.durable_files import disk_errors, opened, write_all
from storage.files.reserved_space import Space

STAGE = ".restore"
_OF = "of"  # file in the stage with the digest of the manifest
_TREE = "data"


class NotEmpty(BackupError):
    """The data directory holds something already."""


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of a restore."""

    generation: int
    """Number of the generation."""
    at: str
    """When the backup was begun."""
    database: str
    """"sqlite", or "elsewhere" if the databases were not in the backup."""
    bytes: int
    """Bytes of everything that was restored."""
    faults: list[str]
    """A sentence about each file that was missing or damaged in the backup and is not restored."""


def restore(
    folder: Folder, generation: int | None, data_dir: Path, owner: tuple[int, int] | None, watch: Watch
) -> Restored:
    """Restore a generation, by default the newest; `owner` gets the files. Raises StorageError."""
    with folder.locked(writing=False):
        complete = folder.complete()
        if not complete:
            raise BackupForeign(
                f"{folder.path} holds no complete backup", "run recorder backup, or name another folder"
            )
        number = complete[-1] if generation is None else generation
        if number not in complete:
            known = ", ".join(map(str, complete))
            raise BackupForeign(f"the backup has no complete generation {number}", f"it has {known}")
        return _Run(folder, number, data_dir, owner, watch).run()


class _Run:
    """Restores one generation."""

    def __init__(self, folder: Folder, number: int, data: Path, owner: tuple[int, int] | None, watch: Watch) -> None:
        self._folder, self._place, self._data = folder, folder.place(number), data
        self._owner, self._watch = owner, watch
        self._manifest = folder.manifest(number)
        self._stage = data / STAGE
        self._tree = self._stage / _TREE
        self._done = self._bytes = 0
        self._faults: list[str] = []

    def run(self) -> Restored:
        """Restore the generation, or continue an interrupted restore; raises StorageError."""
        with disk_errors("restore the backup"):
            placed = self._continued()
            others = [name for name in _occupied(self._data) if name not in placed]
            if others:
                hint = f"stop the recorder and move everything but {KEYS}/ out of it"
                raise NotEmpty(f"{self._data} is not empty: it holds {', '.join(others[:3])}", hint)
            if not placed:  # an interrupted restore had copied everything before it put the first entry in place
                self._copy()
            self._put_in_place()
        head = self._manifest.head
        return Restored(head.generation, head.at, head.database, self._bytes, self._faults)

    def _continued(self) -> set[str]:
        """Prepare the stage; return the entries that an earlier run of the same restore has put in place."""
        mark = hashlib.sha256((self._place / MANIFEST).read_bytes()).hexdigest().encode()
        try:
            same = (self._stage / _OF).read_bytes() == mark
        except FileNotFoundError:
            same = False
        if same:
            for left in self._tree.rglob(f".*{DRAFT}"):  # of a try that was killed
                left.unlink()
            return {name for name in self._tops() if (self._data / name).exists() and not (self._tree / name).exists()}
        shutil.rmtree(self._stage, ignore_errors=True)
        return set()

    def _tops(self) -> set[str]:
        """Return the names of the backup's entries directly in the data directory."""
        return {PurePosixPath(path).parts[0] for path in (*self._manifest.state, *self._manifest.folders)}

    def _copy(self) -> None:
        manifest = self._manifest
        free = Space.of(self._data).free
        there = 0 if not self._tree.exists() else sum(p.stat().st_size for p in self._tree.rglob("*") if p.is_file())
        if manifest.bytes - there + SPARE > free:
            problem = f"the backup holds {manifest.bytes:,} bytes; {free:,} are free"
            raise NoSpace(problem, "make room on the data disk, or use a larger one")
        with Copier(self._data, self._progress, self._owner) as copier:
            copier.make_folder(self._tree)
            with opened(self._stage / _OF, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
                write_all(fd, hashlib.sha256((self._place / MANIFEST).read_bytes()).hexdigest().encode(), 0)
            for source, file, wanted in self._files():
                self._bring(copier, source, file, wanted)
            copier.settle()

    def _files(self) -> Iterator[tuple[Path, str, Print]]:
        """Yield the path of each file in the backup, its path in the data directory, and its print."""
        for name in self._manifest.folders:
            source = self._folder.recordings / Path(name).relative_to(CUSTOMERS)
            for file, wanted in self._manifest.files(name).items():
                yield source / file, f"{name}/{file}", wanted
        for file, wanted in self._manifest.state.items():
            yield self._place / STATE / file, file, wanted

    def _bring(self, copier: Copier, source: Path, file: str, wanted: Print) -> None:
        target = self._tree / file
        if print_of(target) == wanted:  # an earlier run copied it
            self._progress(wanted.size)
            self._bytes += wanted.size
            return
        before = self._done
        try:
            with opened(source, os.O_RDONLY | os.O_NOFOLLOW) as fd:
                fault = "" if copier.copy(fd, target, wanted=wanted) else "is damaged in the backup"
        except FileNotFoundError:
            fault = "is missing in the backup"
        except PermissionError:
            raise
        except (Unreadable, OSError) as problem:
            fault = f"cannot be read in the backup ({problem if isinstance(problem, Unreadable) else problem.strerror})"
        if fault:
            self._faults.append(f"{file} {fault}")
            self._done = before
        else:
            self._bytes += wanted.size

    def _progress(self, more: int) -> None:
        self._done += more
        self._watch(min(self._done, self._manifest.bytes), self._manifest.bytes)

    def _put_in_place(self) -> None:
        for name in sorted(os.listdir(self._tree), key=lambda name: (name == CUSTOMERS, name)):
            target = self._data / name
            if target.is_dir():  # it holds no files: `_occupied` has checked
                shutil.rmtree(target)
            (self._tree / name).rename(target)
        with opened(self._data, os.O_RDONLY | os.O_DIRECTORY) as fd:
            os.fsync(fd)
        shutil.rmtree(self._stage)


def _occupied(data: Path) -> list[str]:
    """Return the entries of a data directory that hold files, which a restore would mix with those of the backup."""
    found = []
    for name in sorted(os.listdir(data)):
        path = data / name
        if name in NOT_KEPT or name.startswith("."):
            continue
        if not path.is_dir() or any(names for _, _, names in os.walk(path)):
            found.append(name)
    return found
