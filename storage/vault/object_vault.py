"""The vault of a customer whose finished parts go to an object store (docs/formats/objects.md).

    vault/DAY/NAME             the part or, if only the store has it, its *pointer*: a symbolic link without a target
    vault/stored/DAY/NAME      its pointer while the part is here too: the store was proved to have these bytes

The text of a pointer is `s3:SHA256.SIZE`, with the SHA-256 in base64url, and then `.DAY` if the object is locked until
that day. A pointer fits into the inode. All other methods of the vault find it under the part's name. One rename
replaces the part by the pointer, so one of the two always exists.

The object of a part is `CUSTOMER/LEAF/CALL.PART-SHA256`. Writing it again writes the same bytes.

Several nodes may share a store. A node has neither parts nor pointers of another node's recordings; to find such a
recording, it lists the objects of the leaf.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import mmap
import os
import re
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from heapq import nsmallest
from pathlib import Path

from storage.batches import batches
from storage.errors import Forged, ObjectMissing, OnOtherNode, StoreAway, Torn
from storage.files.durable_files import disk_errors, make_apart, write_all
from storage.keys.key_store import CustomerKeys
from storage.keys.key_tree import day_of
from storage.objects.store import Kept, ObjectStore
from storage.timestamps import EPOCH
from storage.vault.lock_notes import LockNotes
from storage.vault.parts import STORED, PartRef, file_name, names, order, parse, refs
from storage.vault.vault import ATTACHMENTS, Vault, unlink

FETCHED = 256 << 20  # bytes of fetched parts kept for the next reader
FETCHED_PARTS = 64  # number of fetched parts kept; each takes a descriptor
FEW = 50  # up to this many recordings of a day, each is listed in the store; for more, the day is
LARGEST = 5 << 30  # bytes that S3 accepts in one request
PAGE = 10_000  # recordings with ended locks that are deleted together
DAY_DIGITS = 4  # first hexadecimal digits of a leaf, which are its day
_POINTER = re.compile(r"s3:([A-Za-z0-9_-]{43})\.([0-9]{1,15})(?:\.([0-9]{1,7}))?", re.ASCII)
_OBJECT = re.compile(
    r"([a-z0-9-]{1,40})/([0-9a-f]{12})/([0-9a-f-]{36})\.([cma][1-9][0-9]{0,8})-([0-9a-f]{64})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Pointer:
    """The known facts about a part that the store has."""

    sha256: bytes
    size: int
    locked: int = 0
    """Day on which its lock ends, in days since 1970; 0 if no lock is known."""

    @classmethod
    def parse(cls, text: str) -> Pointer | None:
        """Parse the text of a pointer; return None if it is not a pointer."""
        found = _POINTER.fullmatch(text)
        with suppress(binascii.Error):
            return cls(base64.urlsafe_b64decode(found[1] + "="), int(found[2]), int(found[3] or 0)) if found else None
        return None

    def __str__(self) -> str:
        lock = f".{self.locked}" if self.locked else ""
        return f"s3:{base64.urlsafe_b64encode(self.sha256).decode().rstrip('=')}.{self.size}{lock}"


@dataclass(frozen=True, slots=True)
class PartObject:
    """The object of a part, named by its members."""

    customer: str
    call: str
    leaf: int
    part: str
    sha256: bytes

    @classmethod
    def parse(cls, name: str) -> PartObject | None:
        """Parse the name of an object; return None if it is not the object of a part."""
        found = _OBJECT.fullmatch(name)
        return cls(found[1], found[3], int(found[2], 16), found[4], bytes.fromhex(found[5])) if found else None

    def __str__(self) -> str:
        return f"{self.customer}/{self.leaf:012x}/{self.call}.{self.part}-{self.sha256.hex()}"


@dataclass(frozen=True, slots=True)
class StoredRef(PartRef):
    """The name of a part of which this node has neither a file nor a pointer."""

    pointer: Pointer
    # from the listing of the store


class ObjectVault(Vault):
    """The parts of one customer; finished parts are uploaded to an object store, and later only kept there."""

    remote = True

    def __init__(
        self,
        folder: Path,
        customer: str,
        keys: CustomerKeys,
        objects: ObjectStore,
        *,
        several: bool = False,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`several`: other nodes put their recordings into the same store."""
        super().__init__(folder, customer, keys, random=random)
        self.several = several
        #: Number of this node.
        self.node = keys.node
        self.attachments_after = keys.node * ATTACHMENTS if several else 0
        self.customer = customer
        self.objects = objects
        self._stored = folder / STORED
        self._moving = threading.Lock()  # held while parts and pointers replace each other, so that erasure misses none
        self._fetched = Fetched()
        self._notes = LockNotes(self._stored)
        self._unlocked: set[PartRef] = set()

    # --- upload ------------------------------------------------------------------------------------------------------

    def waiting(self) -> Iterator[PartRef]:
        """Yield the finished parts that the store does not have yet, oldest day first."""
        for day in self.days():
            yield from map(self._named, sorted(self._waiting_of(day), key=_leaf_of))

    def waiting_of(self, day: int, most: int) -> tuple[int, list[PartRef]]:
        """Return the number of finished parts of a day that the store does not have yet, and the oldest of them.

        A day may have 300,000 parts, so no objects are built for the names of parts that the store has.
        """
        found = self._waiting_of(day)
        return len(found), [self._named(name) for name in nsmallest(most, found, key=_leaf_of)]

    def _waiting_of(self, day: int) -> list[str]:
        folder, stored = self._folder / str(day), set(names(self._stored / str(day)))
        with disk_errors("list the parts of recordings"):
            try:
                with os.scandir(folder) as entries:
                    found = [each.name for each in entries if each.name not in stored and not each.is_symlink()]
            except FileNotFoundError:
                return []
        return [name for name in found if parse(name)]

    def _named(self, name: str) -> PartRef:
        call, leaf, part = name.split(".")
        return PartRef(call, int(leaf, 16), part, self._final(name, int(leaf, 16)))

    def changed(self, day: int) -> int:
        """Return when the folder of a day last changed, in ns, only for comparison."""
        try:
            return os.stat(self._folder / str(day)).st_mtime_ns
        except FileNotFoundError:
            return 0

    def upload(self, ref: PartRef, until: int = 0) -> bool:
        """Write a finished part to the store, prove that the store has it, and note this; sync the part first.

        `until`: day on which its lock ends, in a store that locks; 0 for no lock yet. Return False if the part was
        erased meanwhile, or replaced by a pointer. Raises StoreAway, NoSpace, DiskFailed.
        """
        with self.in_use.of(ref.leaf), _mapped(ref.path) as data:
            if data is None:
                return False
            if len(data) > LARGEST:
                raise StoreAway("the part is larger than an object store takes at once", "it stays in data_dir")
            day = until if self.objects.locks else 0
            pointer = Pointer(hashlib.sha256(data).digest(), len(data), day)
            name = str(self.object_of(ref, pointer))
            if not self.objects.put(name, data, _at(day)) and not self._reads_back(name, pointer):
                raise StoreAway("the object store does not have what it was given", "it is uploaded again")
            with self._moving:
                if os.path.lexists(ref.path) and not ref.path.is_symlink():
                    self._point(self._stored / str(day_of(ref.leaf)) / ref.path.name, pointer)
                    if not day and self.objects.locks:
                        self.to_lock(ref)
                    return True
        if not os.path.lexists(ref.path):  # erased during the upload, perhaps by another process
            self.objects.remove(name, lambda found: found == name)
        return False

    def _reads_back(self, name: str, pointer: Pointer) -> bool:
        digest = hashlib.sha256()
        try:
            self.objects.read(name, pointer.size, digest.update)
        except ObjectMissing:
            return False
        return digest.digest() == pointer.sha256

    def object_of(self, ref: PartRef, pointer: Pointer) -> PartObject:
        """Return the object of a part."""
        return PartObject(self._customer, ref.call, ref.leaf, ref.part, pointer.sha256)

    def _point(self, place: Path, pointer: Pointer) -> None:
        with disk_errors("note that a part is stored"), suppress(FileExistsError):
            try:
                os.symlink(str(pointer), place)
            except FileNotFoundError:
                make_apart(place.parent)
                os.symlink(str(pointer), place)

    # --- locks -------------------------------------------------------------------------------------------------------

    def pointers(self, day: int) -> Iterator[tuple[PartRef, Pointer]]:
        """Yield the parts of a day that the store has, with their pointers, unordered; some may be here too."""
        for folder in (self._folder / str(day), self._stored / str(day)):
            for ref in refs(folder):
                if (pointer := self._pointer(ref.path)) is not None:
                    yield PartRef(ref.call, ref.leaf, ref.part, self._final(ref.path.name, ref.leaf)), pointer

    def take_unlocked(self) -> set[PartRef]:
        """Return and clear the set of parts uploaded without a lock because their date was not known yet."""
        found = set[PartRef]()
        while self._unlocked:
            found.add(self._unlocked.pop())
        return found

    def to_lock(self, *parts: PartRef) -> None:
        """Note, until the process ends, that parts have no lock yet."""
        self._unlocked.update(parts)

    def locked(self, ref: PartRef) -> None:
        """Note that a part now has its lock."""
        self._unlocked.discard(ref)

    def lock(self, ref: PartRef, until: int) -> bool:
        """Lock the object of a part at least until a day, and note it; return False if the part was erased.

        Raises StoreAway, ObjectMissing.
        """
        with self.in_use.of(ref.leaf):  # an erasure waits, so that it reports the locks correctly
            pointer = self.pointer(ref)
            if pointer is None or pointer.locked >= until:
                return pointer is not None
            self.objects.lock(str(self.object_of(ref, pointer)), _moment(until))
            with self._moving:
                if self._note_lock(ref, replace(pointer, locked=until)):
                    return True
            self._notes.keep(ref.leaf, until)
        return False

    def _note_lock(self, ref: PartRef, pointer: Pointer) -> bool:
        """Replace the present pointer, keeping its time, which tells since when the store has the part."""
        stored = self._stored / str(day_of(ref.leaf)) / ref.path.name
        for place in (stored, self._final(ref.path.name, ref.leaf)):
            if self._pointer(place) is not None:
                draft = self._stored / f".{ref.path.name}"
                with disk_errors("note a lock"):
                    with suppress(FileNotFoundError):
                        os.unlink(draft)  # left by a kill
                    os.symlink(str(pointer), draft)
                    since = os.lstat(place).st_mtime_ns
                    os.utime(draft, ns=(since, since), follow_symlinks=False)
                    os.rename(draft, place)
                return True
        return False

    def held(self) -> list[PartRef]:
        """Return the parts on whose objects the store was asked to put a hold."""
        return list(self._notes.held())

    def hold(self, ref: PartRef) -> bool:
        """Put a legal hold on the object of a part; return False if the store has no object. Raises StoreAway."""
        with self.in_use.of(ref.leaf):
            with self._moving:
                pointer = self.pointer(ref)
                if pointer is None:
                    return False
                self._notes.hold(ref.path.name, str(pointer))
            with suppress(ObjectMissing):  # `recorder verify` reports it
                self.objects.hold(str(self.object_of(ref, pointer)))
        return True

    def end_hold(self, ref: PartRef) -> None:
        """End the legal hold on the object of a part from `held`; raises StoreAway."""
        pointer = self._pointer(ref.path)
        if pointer is not None:
            self.objects.release(str(self.object_of(ref, pointer)))
        self._notes.release(ref.path.name)

    def keeps_locked(self, leaf: int) -> bool:
        """Return whether objects of an erased recording are known to remain under a lock."""
        return self._notes.noted(leaf)

    def delete_unlocked(self, today: int) -> int:
        """Delete objects of erased recordings whose locks have ended; return the number of recordings.

        Raises StoreAway.
        """
        ended = self._notes.ended(today)
        for leaves in batches(ended, PAGE):
            self.remove_objects([("", leaf) for leaf in leaves])
        return len(ended)

    # --- local copies ------------------------------------------------------------------------------------------------

    def stored(self, before_ns: int) -> Iterator[PartRef]:
        """Yield the parts that both sides have and that were uploaded before this time, oldest day first."""
        for day in self._stored_days():
            for ref in refs(self._stored / str(day)):
                with suppress(FileNotFoundError):
                    if os.lstat(ref.path).st_mtime_ns <= before_ns:
                        yield PartRef(ref.call, ref.leaf, ref.part, self._final(ref.path.name, ref.leaf))

    def _stored_days(self) -> list[int]:
        return sorted(int(name) for name in names(self._stored) if name.isascii() and name.isdecimal())

    def release(self, ref: PartRef) -> bool:
        """Replace a local copy by its pointer after checking the store once more; return False if the store lacks it.

        In that case the part waits for its upload again. Raises StoreAway.
        """
        place = self._stored / str(day_of(ref.leaf)) / ref.path.name
        pointer = self._pointer(place)
        if pointer is None:
            return False
        there = self.objects.size(str(self.object_of(ref, pointer))) == pointer.size
        with self._moving, disk_errors("let a local copy go"), suppress(FileNotFoundError):
            if not there:
                os.unlink(place)
            elif os.path.lexists(ref.path):
                os.rename(place, ref.path)
            else:  # somebody has removed the part
                os.unlink(place)
        return there

    def recall(self, ref: PartRef) -> bool:
        """Fetch a part that only the store has to its place, durably; return False if it is already here."""
        pointer = self._pointer(ref.path)
        if pointer is None:
            return False
        with tempfile.NamedTemporaryFile(dir=self._open, prefix="fetched.", delete=False) as file:
            try:
                self._fetch(ref, pointer, file.fileno())
                os.fsync(file.fileno())
                with self._moving:
                    if os.path.lexists(ref.path):  # not erased meanwhile
                        self._point(self._stored / str(day_of(ref.leaf)) / ref.path.name, pointer)
                        os.rename(file.name, ref.path)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(file.name)
        return True

    # --- mend and move -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Mark that the store may have parts of this vault, so that from now on every erasure must ask it."""
        if not self._stored.is_dir():
            make_apart(self._stored)

    def mistrust(self, ref: PartRef) -> None:
        """Discard the note that the store has a part that is here too, so that it waits for its upload again."""
        with suppress(FileNotFoundError):
            os.unlink(self._stored / str(day_of(ref.leaf)) / ref.path.name)

    def adopt(self, each: PartObject, size: int) -> bool:
        """Make a pointer to an object that only the store has; if its call was erased, delete it and return False."""
        if not self._keys.keeps(each.leaf):
            name = str(each)
            self.objects.remove(name, lambda found: found == name)
            return False
        name = file_name(each.call, each.leaf, each.part)
        self._point(self._final(name, each.leaf), Pointer(each.sha256, size))
        return True

    def leave(self) -> tuple[tuple[str, Kept], ...]:
        """Delete all objects of this vault, whose parts must all be here; return call and object of each one kept."""
        for ref in self.held():
            self.end_hold(ref)
        for day in self._stored_days():
            for name in names(self._stored / str(day)):
                os.unlink(self._stored / str(day) / name)
        _, kept = self.objects.remove(f"{self.customer}/", _every)
        if not kept:
            self._notes.clear()
            with disk_errors("leave the object store"), suppress(FileNotFoundError):
                for name in names(self._stored):
                    place = self._stored / name
                    place.unlink() if place.is_symlink() else place.rmdir()
                self._stored.rmdir()
        return _named(kept)

    # --- read --------------------------------------------------------------------------------------------------------

    def readable(self, call: str, leaf: int) -> tuple[PartRef, ...]:
        """Return the parts of a recording as `parts` does, but also of another node's recording; raise StoreAway."""
        here = self.parts(call, leaf)
        if not self.several or any(not ref.part.startswith("a") for ref in here):
            return here  # recorded here; attachments added at other nodes do not belong to the recording itself
        found = {ref.part: ref for ref in (*self._elsewhere(call, leaf), *here)}
        return tuple(sorted(found.values(), key=order))

    def attachment(self, call: str, leaf: int, part: str) -> PartRef | None:
        """Return an attachment, which another node may have added; raise StoreAway, OnOtherNode."""
        here = self.find(call, leaf, part)
        if here is not None or not self.several:
            return here
        found = next((ref for ref in self._elsewhere(call, leaf) if ref.part == part), None)
        node = (int(part[1:]) - 1) // ATTACHMENTS
        if found is None and node != self.node:
            raise OnOtherNode("the attachment is not in the object store yet", node)
        return found

    def _elsewhere(self, call: str, leaf: int) -> list[PartRef]:
        """Return the parts of a recording that the store has."""
        found: list[PartRef] = []
        for each in self.objects.listing(f"{self._customer}/{leaf:012x}/"):
            part = PartObject.parse(each.name)
            if part is not None and part.call == call:
                found.append(self.stored_ref(part, each.size))
        return found

    def stored_ref(self, part: PartObject, size: int) -> StoredRef:
        """Return the name of a part of which only the object is known."""
        path = self._final(file_name(part.call, part.leaf, part.part), part.leaf)
        return StoredRef(part.call, part.leaf, part.part, path, Pointer(part.sha256, size))

    def size_of(self, ref: PartRef) -> int:
        """Return the size of one part in bytes; raise FileNotFoundError if it is gone."""
        return ref.pointer.size if isinstance(ref, StoredRef) else super().size_of(ref)

    def _open_file(self, ref: PartRef) -> tuple[int, Path]:
        if isinstance(ref, StoredRef):
            return self._fetched.get(ref, lambda: self._bring(ref, ref.pointer)), ref.path
        return super()._open_file(ref)

    def pointer(self, ref: PartRef) -> Pointer | None:
        """Return the pointer of a part that the store was proved to have, whether or not the part is here too."""
        if isinstance(ref, StoredRef):
            return ref.pointer
        name = file_name(ref.call, ref.leaf, ref.part)
        return self._pointer(self._stored / str(day_of(ref.leaf)) / name) or self._pointer(self._final(name, ref.leaf))

    def _pointer(self, path: Path | str) -> Pointer | None:
        try:
            return Pointer.parse(os.readlink(path))
        except OSError:  # the path is a part, or does not exist
            return None

    def _bytes(self, path: Path | str) -> int:
        try:
            return super()._bytes(path)
        except FileNotFoundError:
            pointer = self._pointer(path)
            if pointer is None:
                raise
            return pointer.size

    def _open_at(self, ref: PartRef, path: Path) -> int:
        try:
            return super()._open_at(ref, path)
        except FileNotFoundError:
            pointer = self._pointer(path)
            if pointer is None:
                raise
        return self._fetched.get(ref, lambda: self._bring(ref, pointer))

    def _bring(self, ref: PartRef, pointer: Pointer) -> tuple[int, int]:
        """Fetch a part into an unnamed file, which vanishes when it is closed; return descriptor and bytes."""
        with disk_errors("fetch a part of a recording"):
            make_apart(self._folder)
        with tempfile.TemporaryFile(dir=self._folder) as file:
            self._fetch(ref, pointer, file.fileno())
            return os.dup(file.fileno()), pointer.size

    def _fetch(self, ref: PartRef, pointer: Pointer, fd: int) -> None:
        at, digest = 0, hashlib.sha256()

        def take(data: bytes) -> None:
            nonlocal at
            with disk_errors("fetch a part of a recording"):
                write_all(fd, data, at)
            digest.update(data)
            at += len(data)

        try:
            self.objects.read(str(self.object_of(ref, pointer)), pointer.size, take)
        except ObjectMissing:
            raise Torn("the object store lacks this part", 0, "recorder verify names all that is missing") from None
        if digest.digest() != pointer.sha256:
            raise Forged("the object store returned other bytes than were stored", 0)

    # --- forget ------------------------------------------------------------------------------------------------------

    def remove_all(self, recordings: Iterable[tuple[str, int]]) -> int:
        """Unlink every part and pointer of many recordings, durably; return how many parts were removed.

        Objects stay until `remove_objects`, so that an erasure does not wait for an unreachable store.
        """
        wanted = set(recordings)
        with self._moving:
            if self.objects.locks:
                self._note_locks(wanted)
            gone = super().remove_all(wanted)
            for day in sorted({day_of(leaf) for _, leaf in wanted}):
                folder = self._stored / str(day)
                mine = [ref.path.name for ref in refs(folder) if (ref.call, ref.leaf) in wanted]
                if mine:
                    unlink(folder, mine)
        self._fetched.drop({leaf for _, leaf in wanted})
        return gone

    def _note_locks(self, wanted: set[tuple[str, int]]) -> None:
        """Note until when locks keep objects that are about to be erased, so that the store is not asked for each."""
        for day in sorted({day_of(leaf) for _, leaf in wanted}):
            for ref, pointer in self.pointers(day):
                if pointer.locked and (ref.call, ref.leaf) in wanted:
                    self._notes.keep(ref.leaf, pointer.locked)
        self._notes.sync()

    def drop(self, ref: PartRef) -> None:
        """Remove a finished part that was never announced, and its object if the store allows it now."""
        with self._moving:
            pointer = self.pointer(ref)
            super().drop(ref)
            self.mistrust(ref)
        if pointer is not None:
            name = str(self.object_of(ref, pointer))
            with suppress(StoreAway):  # `recorder verify` reports it in that case
                self.objects.remove(name, lambda found: found == name)

    def remove_objects(self, recordings: Iterable[tuple[str, int]]) -> int:
        """Delete every version of the objects of many recordings, twice, because an aborted upload may complete late.

        Return how many objects the second pass found that the store does not keep under a lock. If the first pass finds
        nothing, there is no second. Raises StoreAway.
        """
        leaves = {leaf for _, leaf in recordings}
        self.in_use.wait(leaves)
        for ref in self.held():
            if ref.leaf in leaves:
                self.end_hold(ref)
        again, locked = 0, dict[int, int]()
        for prefix, wanted in self._prefixes(leaves):
            found, kept = self._remove_twice(prefix, wanted)
            again += found - len(kept)
            for each in kept:
                part = PartObject.parse(each.name)
                if part is not None:
                    locked[part.leaf] = max(locked.get(part.leaf, 0), _next_try(each))
        self._note_kept(leaves, locked)
        return again

    def remove_days(self, days: Iterable[int]) -> None:
        """Delete every version of the objects of some days, as `remove_objects` does; raises StoreAway."""
        for day in days:
            self._remove_twice(f"{self._customer}/{day:0{DAY_DIGITS}x}", _every)

    def _remove_twice(self, prefix: str, wanted: Callable[[str], bool]) -> tuple[int, tuple[Kept, ...]]:
        """Delete in two passes; return how many objects the second pass found, and which are kept."""
        found, _ = self.objects.remove(prefix, wanted, self._until)
        return self.objects.remove(prefix, wanted, self._until) if found else (0, ())

    def _note_kept(self, leaves: set[int], locked: Mapping[int, int]) -> None:
        for leaf in leaves:
            if leaf not in locked and self._notes.noted(leaf):
                self._notes.forget(leaf)
        for leaf, day in locked.items():
            self._notes.keep(leaf, day, known=False)
        if locked:
            self._notes.sync()

    def _until(self, name: str) -> datetime | None:
        """Return the known end of an object's lock, None if the lock has ended or is not known."""
        part = PartObject.parse(name)
        day = None if part is None else self._notes.until(part.leaf)
        return _moment(day) if day is not None and _moment(day) > datetime.now(UTC) else None

    def kept(self, recordings: Iterable[tuple[str, int]]) -> tuple[tuple[str, Kept], ...]:
        """Return the objects of erased recordings that the store refuses to delete: call, object and its last lock.

        `remove_objects` has noted which recordings have any; with several nodes, another node may have done so.
        """
        leaves = {leaf for _, leaf in recordings if self.several or self._notes.noted(leaf)}
        found = (self.objects.kept(prefix, wanted, self._until) for prefix, wanted in self._prefixes(leaves))
        return _named(each for some in found for each in some)

    def _prefixes(self, leaves: set[int]) -> Iterator[tuple[str, Callable[[str], bool]]]:
        """Yield prefixes to list for some leaves, each with a filter: single leaves, or a day if there are many."""
        by_day: dict[int, set[int]] = {}
        for leaf in leaves:
            by_day.setdefault(day_of(leaf), set()).add(leaf)
        for mine in by_day.values():
            if len(mine) <= FEW:
                yield from ((f"{self._customer}/{leaf:012x}/", _every) for leaf in sorted(mine))
            else:
                day = f"{min(mine):012x}"[:DAY_DIGITS]
                yield f"{self._customer}/{day}", partial(_is_of, frozenset(mine))


def _moment(day: int) -> datetime:
    """Return the beginning of a day, given in days since 1970, in UTC."""
    return EPOCH + timedelta(days=day)


def _at(day: int) -> datetime | None:
    return _moment(day) if day else None


def _named(kept: Iterable[Kept]) -> tuple[tuple[str, Kept], ...]:
    """Return each object once, with its call and the version whose lock ends last."""
    found: dict[str, tuple[str, Kept]] = {}
    for each in kept:
        part = PartObject.parse(each.name)
        if part is not None and (each.name not in found or _longer(each, found[each.name][1])):
            found[each.name] = (part.call, each)
    return tuple(found[name] for name in sorted(found))


def _longer(one: Kept, other: Kept) -> bool:
    """Return whether one version is kept longer than another; a hold has no end."""
    return other.until is not None and (one.until is None or one.until > other.until)


def _next_try(kept: Kept) -> int:
    """Return the day on which to try the deletion again: after the lock has ended, or tomorrow under a hold."""
    until = kept.until or datetime.now(UTC)
    return -((EPOCH - until) // timedelta(days=1))  # rounded up


def _leaf_of(name: str) -> str:
    return name.partition(".")[2]


def _every(name: str) -> bool:
    return True


def _is_of(leaves: frozenset[int], name: str) -> bool:
    part = PartObject.parse(name)
    return part is not None and part.leaf in leaves


class Fetched:
    """Recently fetched parts in unnamed files, so that a player that requests many ranges fetches each part once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[tuple[str, int, str], tuple[int, int]] = OrderedDict()  # descriptor, bytes
        self._size = 0

    def __del__(self) -> None:
        for fd, _ in self._files.values():
            os.close(fd)

    def get(self, ref: PartRef, bring: Callable[[], tuple[int, int]]) -> int:
        """Return a descriptor of a part, which the caller closes; fetch the part if it is not cached."""
        key = (ref.call, ref.leaf, ref.part)
        with self._lock:
            if key in self._files:
                self._files.move_to_end(key)
                return os.dup(self._files[key][0])
        fd, size = bring()
        with self._lock:
            if key in self._files or size > FETCHED:
                return fd
            self._files[key] = (os.dup(fd), size)
            self._size += size
            while self._size > FETCHED or len(self._files) > FETCHED_PARTS:
                self._close(next(iter(self._files)))
        return fd

    def drop(self, leaves: set[int]) -> None:
        """Drop all parts of these leaves."""
        with self._lock:
            for key in [key for key in self._files if key[1] in leaves]:
                self._close(key)

    def _close(self, key: tuple[str, int, str]) -> None:
        fd, size = self._files.pop(key)
        self._size -= size
        os.close(fd)


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap | bytes | None]:
    """Map a part into memory, so that a large part takes no heap; yield None if it is no longer a file."""
    with disk_errors("read a part of a recording"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            fd = -1
    if fd < 0:
        yield None
        return
    try:
        with disk_errors("read a part of a recording"):
            data = mmap.mmap(fd, 0, prot=mmap.PROT_READ) if os.fstat(fd).st_size else b""
    finally:
        os.close(fd)
    yield data  # unmapped with the last reference, which the client may keep for a moment longer
