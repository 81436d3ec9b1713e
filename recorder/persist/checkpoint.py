"""What main must know to continue a live call after a crash, in the call's file of the runtime directory.

The outer JSON names the call, the customer, the leaf and the ports. Everything else (participants, keys, dialog) is
sealed under the recording's own leaf, so the checkpoint of an erased call is as unreadable as its audio.

The call's media worker has the descriptor of the whole file, for its spool. So nothing outside the seal is trusted: the
sealed part opens only under the leaf and the call that the outer JSON names.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from personal import revealed
from recorder.persist.checkpoint_file import VERSION, Slot, Slots, State, ports_of, states
from recorder.runtime import version
from storage.errors import StorageError
from storage.keys.key_store import CustomerKeys
from storage.keys.key_tree import LEAF_BITS

OLD_SPOOLS = "spool"
"""Folder beside ours in which versions before the first release kept the spools."""

REFUSED = "refused"
"""The sealed part of a call whose INVITE was refused: its files are to be removed, whatever they say."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The part outside the seal."""

    call: str
    customer: str
    leaf: int
    ports: tuple[tuple[int, bool], ...]  # (RTP port, whether an RTCP port is one above it)


@dataclass(frozen=True, slots=True)
class Outer:
    """The part of a checkpoint that is not sealed."""

    call: str
    customer: str
    leaf: int
    path: Path
    sealed: bytes
    over: bool  # the call ended; only indexing is left
    ports: tuple[int, ...] = ()  # RTP ports


class Checkpoints:
    """The files of the live calls; on tmpfs, so that a reboot removes them together with the calls."""

    def __init__(self, folder: Path) -> None:
        self._slots = Slots(folder)
        self._of: dict[str, Slot] = {}
        for stray in folder.iterdir():  # from before calls had numbers; their recordings are repaired
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
        """Note that a media worker has the descriptor: the file is not reused until `returned`."""
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
        outer = {
            "v": VERSION,
            "program": version.VERSION,
            "call": call,
            "customer": mark.customer,
            "leaf": mark.leaf,
            "ports": mark.ports,
        }
        self._of[call].write(_json(outer), sealed)

    def mark_over(self, call: str) -> None:
        """Note that a call is over: a successor does not continue it and only ensures that it is indexed."""
        slot = self._of.get(call)
        if slot:
            slot.end()

    def mark_refused(self, mark: Mark, keys: CustomerKeys) -> None:
        """Note that the INVITE of a call was refused although files may exist.

        Raises OSError or StorageError.
        """
        self.save(Mark(mark.call, mark.customer, mark.leaf, ()), keys, {REFUSED: True})
        self._of[mark.call].end()

    def remove(self, call: str) -> None:
        """Delete a call's checkpoint; the next call may reuse its file."""
        slot = self._of.pop(call, None)
        if slot:
            self._slots.give_back(slot)

    def left(self) -> Iterator[Outer]:
        """Yield what a previous daemon process left; unreadable files are emptied."""
        for slot, state in self._slots.left():
            outer = _outer(state, slot.path)
            if outer is None or self._of.get(outer.call) not in (None, slot):  # a forged one names another call's leaf
                self._slots.give_back(slot)
                continue
            self._of[outer.call] = slot
            yield outer

    def close(self) -> None:
        """Close the files; those of calls that continue stay for a successor."""
        self._slots.close()
        self._of.clear()

    @staticmethod
    def unseal(outer: Outer, keys: CustomerKeys) -> dict[str, Any] | None:
        """Return the sealed state, or nothing if its leaf was cut or it is damaged."""
        with suppress(StorageError, ValueError):
            state = json.loads(keys.unseal(outer.leaf, "checkpoint", outer.sealed, outer.call.encode()))
            return state if isinstance(state, dict) else None
        return None


def refused(runtime_dir: Path, customer: str, keys: CustomerKeys) -> set[str]:
    """Return the calls of a customer whose INVITE was refused and whose files could not be removed."""
    found = (_outer(state) for state in states(runtime_dir))
    marks = [outer for outer in found if outer is not None and outer.customer == customer]
    return {outer.call for outer in marks if (Checkpoints.unseal(outer, keys) or {}).get(REFUSED) is True}


def _outer(state: State, path: Path = Path()) -> Outer | None:
    """Parse the part outside the seal; None if it is not ours. Opening the seal shows whether it is true."""
    fields = state.outer
    call, customer, leaf = fields.get("call"), fields.get("customer"), fields.get("leaf")
    if not (isinstance(call, str) and isinstance(customer, str) and type(leaf) is int and 0 <= leaf < 1 << LEAF_BITS):
        return None
    ports = tuple(port for port, _ in ports_of(state))
    return Outer(call, customer, leaf, path, state.sealed, state.over, ports)


def _json(value: Mapping[str, Any]) -> bytes:
    """Encode JSON, personal values in the clear, because it is sealed; lone surrogates survive as escapes."""
    try:
        return msgspec.json.encode(value, enc_hook=revealed)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), default=revealed).encode()
