"""Notes on the disk about a vault's legal holds in the object store, and about locked objects of erased recordings.

    vault/stored/held/CALL.LEAF.PART     the pointer of a part on whose object the store was asked to put a hold
    vault/stored/locked/LEAF             `until:DAY`: objects of an erased recording cannot be deleted before this day;
                                         `again:DAY`: the store refuses to delete them, and is asked again that day

Like pointers, both are symbolic links without a target. A note of a hold is made before the store is asked for the
hold, so no hold can remain that is not noted.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from storage.files.durable_files import disk_errors, make_apart, opened
from storage.vault.parts import PartRef, names, refs

HELD, LOCKED = "held", "locked"
_UNTIL, _AGAIN = "until", "again"


class LockNotes:
    """The notes of one vault."""

    def __init__(self, stored: Path) -> None:
        self._held, self._locked = stored / HELD, stored / LOCKED

    # --- holds -------------------------------------------------------------------------------------------------------

    def held(self) -> Iterator[PartRef]:
        """Yield the parts with a note of a hold; their paths are those of the notes."""
        return refs(self._held)

    def hold(self, name: str, pointer: str) -> None:
        """Note that a hold on the object of a part is about to be requested."""
        with disk_errors("note a hold"), suppress(FileExistsError):
            _link(pointer, self._held / name)

    def release(self, name: str) -> None:
        """Note that the hold on the object of a part has ended."""
        with disk_errors("note a hold"), suppress(FileNotFoundError):
            os.unlink(self._held / name)

    # --- locks of erased calls ----------------------------------------------------------------------------------------

    def keep(self, leaf: int, day: int, *, known: bool = True) -> None:
        """Note that objects of an erased recording stay until a day, in days since 1970; of two days the later counts.

        `known`: the lock ends on that day; otherwise the store is only asked again.
        """
        place = self._locked / f"{leaf:012x}"
        with disk_errors("note a lock"):
            kind, noted = self._note(place)
            if kind is not None and noted >= day:
                return
            if kind is not None:
                os.unlink(place)
            _link(f"{_UNTIL if known else _AGAIN}:{day}", place)

    def sync(self) -> None:
        """Make the notes of locks durable."""
        with (
            disk_errors("note a lock"),
            suppress(FileNotFoundError),
            opened(self._locked, os.O_RDONLY | os.O_DIRECTORY) as fd,
        ):
            os.fsync(fd)

    def until(self, leaf: int) -> int | None:
        """Return the day until which objects of a recording are locked, None if nothing is known."""
        kind, day = self._note(self._locked / f"{leaf:012x}")
        return day if kind == _UNTIL else None

    def noted(self, leaf: int) -> bool:
        """Return whether objects of an erased recording may remain."""
        return self._note(self._locked / f"{leaf:012x}")[0] is not None

    def ended(self, today: int) -> list[int]:
        """Return the leaves of the erased recordings whose objects are now due to be deleted or asked about."""
        return sorted(int(name, 16) for name in names(self._locked) if self._note(self._locked / name)[1] <= today)

    def forget(self, leaf: int) -> None:
        """Note that no object of a recording remains."""
        with disk_errors("note a lock"), suppress(FileNotFoundError):
            os.unlink(self._locked / f"{leaf:012x}")

    def clear(self) -> None:
        """Delete all notes, because the vault leaves the store."""
        with disk_errors("leave the object store"):
            for folder in (self._held, self._locked):
                for name in names(folder):
                    os.unlink(folder / name)
                with suppress(FileNotFoundError):
                    folder.rmdir()

    def _note(self, place: Path) -> tuple[str | None, int]:
        """Return kind and day of a note; the kind is None if there is no note."""
        try:
            kind, _, day = os.readlink(place).partition(":")
        except OSError:
            return None, 0
        return kind, int(day) if day.isascii() and day.isdecimal() else 0


def _link(text: str, place: Path) -> None:
    try:
        os.symlink(text, place)
    except FileNotFoundError:
        make_apart(place.parent)
        os.symlink(text, place)
