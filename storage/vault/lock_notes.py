"""Notes on the disk of what an object store holds for a vault, and of what its locks keep of erased recordings.

    vault/stored/held/CALL.LEAF.PART     the pointer of a part whose object the store was asked to hold
    vault/stored/locked/LEAF             `until:DAY`: objects of an erased recording that cannot be deleted before;
                                         `again:DAY`: that the store refuses to delete, and is asked again that day

Both are symbolic links to nothing, as pointers are. A note of a hold is made before the store is asked, so a hold that
nobody knows of cannot stay.
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
        """Yield the parts whose objects the store was asked to hold; their paths are those of the notes."""
        return refs(self._held)

    def hold(self, name: str, pointer: str) -> None:
        """Note that the object of a part is going to be held."""
        with disk_errors("note a hold"), suppress(FileExistsError):
            _link(pointer, self._held / name)

    def release(self, name: str) -> None:
        """Note that no hold is left."""
        with disk_errors("note a hold"), suppress(FileNotFoundError):
            os.unlink(self._held / name)

    # --- what a lock keeps -------------------------------------------------------------------------------------------

    def keep(self, leaf: int, day: int, *, known: bool = True) -> None:
        """Note that objects of an erased recording stay until a day, in days since 1970; a later day counts.

        `known`: its lock ends then; otherwise it is only looked at again.
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
        """Return whether objects of an erased recording may be left."""
        return self._note(self._locked / f"{leaf:012x}")[0] is not None

    def ended(self, today: int) -> list[int]:
        """Return the leaves of the erased recordings that are to be deleted, or asked about, by now."""
        return sorted(int(name, 16) for name in names(self._locked) if self._note(self._locked / name)[1] <= today)

    def forget(self, leaf: int) -> None:
        """Note that nothing of a recording is left."""
        with disk_errors("note a lock"), suppress(FileNotFoundError):
            os.unlink(self._locked / f"{leaf:012x}")

    def clear(self) -> None:
        """Forget everything: the vault leaves the store."""
        with disk_errors("leave the object store"):
            for folder in (self._held, self._locked):
                for name in names(folder):
                    os.unlink(folder / name)
                with suppress(FileNotFoundError):
                    folder.rmdir()

    def _note(self, place: Path) -> tuple[str | None, int]:
        """Return kind and day of a note, None if there is none."""
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
