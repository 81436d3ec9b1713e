"""What main must know to go on with a live call after it died: in the call's file of the runtime directory.

The outer JSON names the call, the customer, the leaf and the ports; everything else (parties, keys, dialog) is sealed
under the recording's own leaf, so an erased call's checkpoint is as dead as its audio.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from recorder.slots import VERSION, Slot, Slots
from storage.errors import StorageError
from storage.keys import CustomerKeys

OLD_SPOOLS = "spool"
"""Folder beside ours in which versions before the first release kept the spools."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What stands outside the seal."""

    call: str
    customer: str
    leaf: int
    ports: tuple[tuple[int, bool], ...]  # (RTP port, whether an RTCP port lies above it)


@dataclass(frozen=True, slots=True)
class Outer:
    """The part of a checkpoint that is not sealed."""

    call: str
    customer: str
    leaf: int
    path: Path
    sealed: bytes
    over: bool  # the call ended; it only has to be indexed
    refused: bool = False  # its INVITE was refused: its files are to be removed


class Checkpoints:
    """The files of the live calls; on tmpfs, so that a reboot forgets them together with the calls."""

    def __init__(self, folder: Path) -> None:
        self._slots = Slots(folder)
        self._of: dict[str, Slot] = {}
        for stray in folder.iterdir():  # from before there were numbers; their recordings are mended
            if not stray.name.isdecimal() and (stray.is_symlink() or stray.is_file()):
                stray.unlink()
        shutil.rmtree(folder.with_name(OLD_SPOOLS), ignore_errors=True)

    def begin(self, call: str) -> int:
        """Give a call its file; returns the descriptor, for its worker's spool. Raises OSError."""
        slot = self._of.get(call)
        if slot is None:
            slot = self._of[call] = self._slots.take()
            slot.reserve()
        return slot.fd

    def lend(self, call: str) -> None:
        """Note that a media worker has the descriptor: the file is of no use to others until `returned`."""
        self._of[call].lent = True

    def returned(self, call: str) -> None:
        """Note that no worker writes to the file any more."""
        if call in self._of:
            self._of[call].lent = False

    def save(self, mark: Mark, keys: CustomerKeys, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint of a call; after a `kill -9` either the old or the new one is there.

        Raises OSError or StorageError, and the old one stays.
        """
        call = mark.call
        self.begin(call)
        sealed = keys.seal(mark.leaf, "checkpoint", _json(state), call.encode())
        outer = {"v": VERSION, "call": call, "customer": mark.customer, "leaf": mark.leaf, "ports": mark.ports}
        self._of[call].write(_json(outer), sealed)

    def mark_over(self, call: str) -> None:
        """Note that a call is over: a successor does not go on with it, only sees that it is indexed."""
        slot = self._of.get(call)
        if slot:
            slot.end()

    def mark_refused(self, mark: Mark) -> None:
        """Note that the INVITE of a call was refused, and that files may lie there all the same. Raises OSError."""
        self.begin(mark.call)
        slot = self._of[mark.call]
        outer = {"v": VERSION, "call": mark.call, "customer": mark.customer, "leaf": mark.leaf, "ports": []}
        slot.write(_json({**outer, "refused": True}), b"")
        slot.end()

    def remove(self, call: str) -> None:
        """Forget a call's checkpoint; the next call may have its file."""
        slot = self._of.pop(call, None)
        if slot:
            self._slots.give_back(slot)

    def left(self) -> Iterator[Outer]:
        """Yield what a former life of the daemon left; unreadable ones are emptied."""
        for slot, state in self._slots.left():
            said = state.outer
            try:
                outer = Outer(
                    str(said["call"]),
                    str(said["customer"]),
                    int(said["leaf"]),
                    slot.path,
                    state.sealed,
                    state.over,
                    said.get("refused") is True,
                )
            except (KeyError, TypeError, ValueError):
                self._slots.give_back(slot)
                continue
            self._of[outer.call] = slot
            yield outer

    def close(self) -> None:
        """Close the files; those of calls that go on stay for a successor."""
        self._slots.close()
        self._of.clear()

    @staticmethod
    def unseal(outer: Outer, keys: CustomerKeys) -> dict[str, Any] | None:
        """Return the sealed state, or nothing if its leaf was cut or it is damaged."""
        with suppress(StorageError, ValueError):
            state = json.loads(keys.unseal(outer.leaf, "checkpoint", outer.sealed, outer.call.encode()))
            return state if isinstance(state, dict) else None
        return None


def _json(value: Mapping[str, Any]) -> bytes:
    """Write JSON; text with broken characters, which the fast writer refuses, comes back from its escapes as it was."""
    try:
        return to_json(value)
    except PydanticSerializationError:
        return json.dumps(value, separators=(",", ":")).encode()
