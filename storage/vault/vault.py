"""The encrypted parts of one customer's recordings: create, finish, read, verify, recover, remove.

    vault/open/CALLID.LLLLLLLLLLLL.PART     being written
    vault/DAY/CALLID.LLLLLLLLLLLL.PART      finished; never opened for writing again

A part is `c1`, `c2`… (control), `m1`… (media) or `a1`… (attachment). Only `recover` and `remove` wait for the disk; to
make a part durable, wait on a `storage.vault.group_sync.Syncer` after `create` or `finish`.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import DamagedPart, Forgotten, PartExists, PartMissing, StorageError
from storage.files.durable_files import PRIVATE_FILE, PRIVATE_FOLDER, disk_errors, make_apart, opened, write_all
from storage.keys.key_store import CustomerKeys
from storage.keys.key_tree import day_of
from storage.vault import repair
from storage.vault.container import HEADER, Defect, PartSecret, new_part, open_part
from storage.vault.leaves_in_use import LeavesInUse
from storage.vault.parts import (
    LABEL,
    OPEN,
    SEGMENT,
    Draft,
    NewPart,
    OpenPart,
    PartRef,
    associated_data,
    file_name,
    names,
    order,
    read_at,
    refs,
)
from storage.vault.torn_tail import Outcome, Recovery

if TYPE_CHECKING:
    from storage.objects.store import Kept

__all__ = ["Draft", "NewPart", "OpenPart", "PartRef", "Vault"]

# The search for parts ends after this many missing numbers: somebody may have moved an unreadable part away by hand.
MAX_HOLE = 2
# Number of folders in which files are unlinked at the same time. On a busy disk each unlink waits for the file system's
# journal, and unlinks in one folder wait for each other. 40,000 files in ten folders: 44 to 75 s in one thread, 3 to
# 5 s in ten.
UNLINKERS = 8
ATTACHMENTS = 1_000  # attachment numbers that each of several nodes has for one call; node 1 has those from 1,001 on


class Vault:
    """The parts of one customer."""

    remote = False
    """Whether opening a part may wait for the network."""
    attachments_after = 0
    """Attachments added here get numbers greater than this."""

    def __init__(
        self, folder: Path, customer: str, keys: CustomerKeys, *, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._folder = folder
        self._open = folder / OPEN
        self._customer = customer
        self._keys = keys
        self._random = random
        #: Readers and uploads of this process.
        self.in_use = LeavesInUse(keys.keeps)

    # --- write -------------------------------------------------------------------------------------------------------

    def create(self, call: str, leaf: int, part: str) -> NewPart:
        """Create a part and write its header; raise PartExists, NoSpace, Forgotten or KeysError."""
        return self.make(self.draft(call, leaf, part))

    def draft(self, call: str, leaf: int, part: str) -> Draft:
        """Prepare a part for `make`: choose its name and derive its key; raise Forgotten or KeysError."""
        return self.drafts(call, leaf, part)[0]

    def drafts(self, call: str, leaf: int, *parts: str) -> list[Draft]:
        """Prepare several parts as `draft` does; the keys are read once for each kind of part."""
        keys = self._keys.secrets(leaf, {LABEL[part[0]] for part in parts})
        drafts = []
        for part in parts:
            name, bound = file_name(call, leaf, part), associated_data(self._customer, call, leaf, part)
            made = new_part(keys[LABEL[part[0]]], bound, SEGMENT[part[0]], self._random)
            drafts.append(Draft(f"{self._open}/{name}", f"{self._folder}/{day_of(leaf)}/{name}", *made))
        return drafts

    def make(self, draft: Draft) -> NewPart:
        """Create the file of a part and write its header; raise PartExists or NoSpace."""
        if os.path.lexists(draft.final):
            raise PartExists("this part is already finished", "take the next number")
        header = draft.header
        with disk_errors("create a part of a recording"):
            fd = self._make(draft.place)
            try:
                if (begun := os.write(fd, header)) < len(header):
                    write_all(fd, header[begun:], begun)
                    os.lseek(fd, len(header), os.SEEK_SET)
            except OSError:
                os.close(fd)
                os.unlink(draft.place)
                raise
        return NewPart(draft.place, fd, draft.secret)

    def finish(self, call: str, leaf: int, part: str) -> PartRef:
        """Move a part to the folder of its day after its last segment was written; repeatable."""
        name = file_name(call, leaf, part)
        source, folder = f"{self._open}/{name}", f"{self._folder}/{day_of(leaf)}"
        target = f"{folder}/{name}"
        with disk_errors("finish a part of a recording"):
            try:
                os.rename(source, target)
            except FileNotFoundError:
                if os.path.lexists(source):
                    Path(folder).mkdir(PRIVATE_FOLDER, exist_ok=True)
                    os.rename(source, target)
                elif not os.path.lexists(target):
                    raise PartMissing("there is no such part to finish") from None
        return PartRef(call, leaf, part, Path(target))

    def _make(self, path: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return os.open(path, flags, PRIVATE_FILE)
        except FileExistsError:
            raise PartExists("this part is already being written", "take the next number") from None
        except FileNotFoundError:
            make_apart(self._open)
            return os.open(path, flags, PRIVATE_FILE)

    def _final(self, name: str, leaf: int) -> Path:
        return self._folder / str(day_of(leaf)) / name

    def _new(self, call: str, leaf: int, part: str) -> tuple[bytes, PartSecret]:
        return new_part(*self._input_key(call, leaf, part), SEGMENT[part[0]], self._random)

    def _input_key(self, call: str, leaf: int, part: str) -> tuple[bytes, bytes]:
        return self._keys.secret(leaf, LABEL[part[0]]), associated_data(self._customer, call, leaf, part)

    # --- find --------------------------------------------------------------------------------------------------------

    def parts(self, call: str, leaf: int) -> tuple[PartRef, ...]:
        """Return the parts of a recording in reading order: control, media, attachments, each by number.

        Parts are numbered without gaps, so they are looked up by name: listing a day of 100,000 calls would take longer
        than reading one call. `remove` and `walk` list folders.
        """
        found = [ref for kind in LABEL for ref in self._numbered(call, leaf, kind)]
        if self.attachments_after:
            found += self._numbered(call, leaf, "a", self.attachments_after)
        return tuple(found)

    def _numbered(self, call: str, leaf: int, kind: str, after: int = 0) -> Iterator[PartRef]:
        number, missed = after, 0
        while missed <= MAX_HOLE:
            number += 1
            ref = self.find(call, leaf, f"{kind}{number}")
            missed = 0 if ref else missed + 1
            if ref:
                yield ref

    def find(self, call: str, leaf: int, part: str) -> PartRef | None:
        """Return one part by its name without listing any folder; None if there is none."""
        name = file_name(call, leaf, part)
        being_written, kept = f"{self._open}/{name}", f"{self._folder}/{day_of(leaf)}/{name}"
        for path in (being_written, kept, being_written):
            if os.path.lexists(path):
                return PartRef(call, leaf, part, Path(path))
        return None

    def readable(self, call: str, leaf: int) -> tuple[PartRef, ...]:
        """Return the parts of a recording as `parts` does, but also of another node's recording; raise StoreAway."""
        return self.parts(call, leaf)

    def attachment(self, call: str, leaf: int, part: str) -> PartRef | None:
        """Return an attachment, which another node may have added; raise StoreAway, OnOtherNode."""
        return self.find(call, leaf, part)

    def size(self, call: str, leaf: int, parts: Iterable[str] | None = None) -> int:
        """Return the bytes of the named finished parts, or of all parts of the recording if `parts` is None."""
        if parts is None:
            paths = [str(ref.path) for ref in self.parts(call, leaf)]
        else:
            paths = [f"{self._folder}/{day_of(leaf)}/{file_name(call, leaf, part)}" for part in parts]
        total = 0
        for path in paths:
            with suppress(FileNotFoundError):
                total += self._bytes(path)
        return total

    def size_of(self, ref: PartRef) -> int:
        """Return the size of one part in bytes; raise FileNotFoundError if it is gone."""
        return self._bytes(ref.path)

    def _bytes(self, path: Path | str) -> int:
        return os.stat(path).st_size

    def written(self, call: str, leaf: int, parts: Iterable[str]) -> int:
        """Return the bytes that these parts have so far, finished or not."""
        total = 0
        for ref in filter(None, (self.find(call, leaf, part) for part in parts)):
            with suppress(FileNotFoundError):  # the part was just finished and so moved
                total += ref.path.stat().st_size
        return total

    def left_open(self) -> list[PartRef]:
        """Return the parts in open/, which belong to live recordings or were left by a crash."""
        return sorted(refs(self._open), key=order)

    def walk(self) -> Iterator[PartRef]:
        """Yield every part, day by day, and last those being written; each folder is listed when it is reached."""
        for folder in self._folders():
            yield from sorted(refs(folder), key=order)

    def days(self) -> list[int]:
        """List the days that have finished parts, oldest first."""
        return sorted(int(name) for name in names(self._folder) if name.isascii() and name.isdecimal())

    def of_day(self, day: int) -> Iterator[PartRef]:
        """Yield the parts of a day, first those being written, unordered; one finished meanwhile may come twice."""
        yield from (ref for ref in refs(self._open) if day_of(ref.leaf) == day)
        yield from refs(self._folder / str(day))

    def since(self, day: int) -> Iterator[PartRef]:
        """Yield the parts of a day and of all later days, first those being written, unordered."""
        yield from (ref for ref in refs(self._open) if day_of(ref.leaf) >= day)
        for each in self.days():
            if each >= day:
                yield from refs(self._folder / str(each))

    def _folders(self) -> list[Path]:
        return [*(self._folder / str(day) for day in self.days()), self._open]

    def _of(self, recordings: Iterable[tuple[str, int]]) -> Iterator[PartRef]:
        """Yield the parts of many recordings, listing each folder once; open/ first, because parts only leave it."""
        wanted = set(recordings)
        seen: set[str] = set()
        for folder in [self._open, *(self._folder / str(day) for day in sorted({day_of(leaf) for _, leaf in wanted}))]:
            for ref in refs(folder):
                if (ref.call, ref.leaf) in wanted and ref.path.name not in seen:
                    seen.add(ref.path.name)
                    yield ref

    # --- read --------------------------------------------------------------------------------------------------------

    def open(self, ref: PartRef) -> OpenPart:
        """Open a part for reading; raise PartMissing, Torn or Forged (its header), Forgotten or KeysError."""
        fd, path = self._open_file(ref)
        try:
            key, aad = self._input_key(ref.call, ref.leaf, ref.part)
            secret = open_part(key, aad, read_at(fd, 0, HEADER), SEGMENT[ref.part[0]])
            found = PartRef(ref.call, ref.leaf, ref.part, path)
            return OpenPart(fd, secret, os.fstat(fd).st_size, found.finished)
        except BaseException:
            os.close(fd)
            raise

    def read(self, ref: PartRef, live: bool = False) -> Iterator[bytes]:
        """Yield the plaintext segment by segment; raise Torn or Forged at the first segment that is not genuine.

        `live`: read a part that is still being written, up to its last whole segment. Raises Forgotten as soon as the
        key is cut, and what `open` raises.
        """
        with self.open(ref) as part:
            for data in part.reader().chunks(live):
                yield data
                if not self._keys.keeps(ref.leaf):
                    raise Forgotten("the key of this recording was erased")

    def verify(self, ref: PartRef) -> Iterator[Defect]:
        """Check every byte of a part and yield its defects, with offsets; raise Forgotten, KeysError or PartMissing.

        A missing end is reported like any other defect, even in open/, because only the caller knows the live parts.
        """
        try:
            part = self.open(ref)
        except DamagedPart as error:
            yield Defect("torn" if error.offset else "forged", error.offset, 0)
            return
        with part:
            yield from part.reader().defects()

    def _open_file(self, ref: PartRef) -> tuple[int, Path]:
        name = file_name(ref.call, ref.leaf, ref.part)
        final = self._final(name, ref.leaf)
        for path in (ref.path, self._open / name, final):  # open/ first, because a part only leaves it
            with disk_errors("open a part of a recording"), suppress(FileNotFoundError):
                return self._open_at(ref, path), path
        raise PartMissing("there is no such part")

    def _open_at(self, ref: PartRef, path: Path) -> int:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    # --- after a crash -----------------------------------------------------------------------------------------------

    def recover(self, ref: PartRef, committed: int | None = None) -> Recovery:
        """End a part whose writer died (`storage.vault.torn_tail`), durably; the caller calls `finish` next."""
        return repair.after(dict(self.recover_all({ref: committed})), ref)

    def recover_all(self, parts: Mapping[PartRef, int | None]) -> Iterator[tuple[PartRef, Recovery | StorageError]]:
        """End many parts whose writers died, durably and with few syncs; yield an error for each part that fails.

        `parts`: for each part the number of committed ciphertext bytes, or None to keep all genuine segments. Finished
        parts are not changed.
        """
        left: list[repair.Repair] = []
        for ref, at in parts.items():
            final = self._final(file_name(ref.call, ref.leaf, ref.part), ref.leaf)
            if os.path.lexists(final):
                yield ref, Recovery(Outcome.WHOLE, self._bytes(final), 0)
            else:
                left.append(self._repair(ref, at))
        yield from repair.run(iter(left))

    def _repair(self, ref: PartRef, committed: int | None) -> repair.Repair:
        path = self._open / file_name(ref.call, ref.leaf, ref.part)
        place = (ref.call, ref.leaf, ref.part)
        segment = SEGMENT[ref.part[0]]
        return repair.Repair(ref, path, segment, lambda: self._input_key(*place), lambda: self._new(*place), committed)

    # --- forget ------------------------------------------------------------------------------------------------------

    def remove(self, call: str, leaf: int) -> int:
        """Unlink every part of a recording, durably, after the caller has cut its key; return how many."""
        return self.remove_all([(call, leaf)])

    def remove_all(self, recordings: Iterable[tuple[str, int]]) -> int:
        """Unlink every part of many recordings, durably, listing each day once; return how many parts were removed."""
        gone: dict[str, set[Path]] = {}
        for ref in self._of(recordings):  # open/ comes first, because a part may move from there to its day meanwhile
            places = {ref.path.parent, *([self._folder / str(day_of(ref.leaf))] if not ref.finished else [])}
            gone[ref.path.name] = places
        folders: dict[Path, list[str]] = {}
        for name, places in gone.items():
            for folder in places:
                folders.setdefault(folder, []).append(name)
        if folders:
            with ThreadPoolExecutor(min(len(folders), UNLINKERS), "unlink") as pool:
                list(pool.map(unlink, folders, folders.values()))
        return len(gone)

    def drop(self, ref: PartRef) -> None:
        """Remove a finished part that was never announced."""
        ref.path.unlink(missing_ok=True)

    def leave(self) -> "Sequence[tuple[str, Kept]]":
        """Delete all objects of this vault, and return those that the store keeps; a local vault has no store."""
        return ()

    def remove_objects(self, recordings: Iterable[tuple[str, int]]) -> int:
        """Delete the objects of many recordings; a local vault has no store."""
        return 0

    def remove_days(self, days: Iterable[int]) -> None:
        """Delete the objects of some days; a local vault has no store."""

    def kept(self, recordings: Iterable[tuple[str, int]]) -> "Sequence[tuple[str, Kept]]":
        """Return the objects that a store refuses to delete, with their calls; a local vault has no store."""
        return ()


def unlink(folder: Path, some: Iterable[str]) -> None:
    """Unlink files of one folder durably, with one sync."""
    with (
        disk_errors("remove parts of recordings"),
        suppress(FileNotFoundError),
        opened(folder, os.O_RDONLY | os.O_DIRECTORY) as fd,
    ):
        for name in some:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=fd)
        os.fsync(fd)
