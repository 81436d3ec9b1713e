"""What main must know to go on with a live call after it died: one sealed file a call in the runtime directory.

The outer JSON names the customer, the leaf and the parts; everything else (parties, keys, dialog) is sealed under the
recording's own leaf, so an erased call's checkpoint is as dead as its audio.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.durable import write_all
from storage.errors import StorageError
from storage.keys import CustomerKeys

VERSION = 1
OVER = ".over"
"""Ending of the name of a checkpoint whose call has ended."""
MAX_BYTES = 8 << 20
"""A checkpoint beyond this is not ours."""


_JSON = json.JSONEncoder(separators=(",", ":"))


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


class Checkpoints:
    """The folder of checkpoints; on tmpfs, so that a reboot forgets it together with the calls."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def save(self, mark: Mark, keys: CustomerKeys, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint of a call; after a `kill -9` either the old or the new one is there.

        Raises OSError or StorageError, and the old one stays.
        """
        call = mark.call
        inner = _JSON.encode(state).encode()
        sealed = keys.seal(mark.leaf, "checkpoint", inner, call.encode())
        outer = {
            "v": VERSION,
            "customer": mark.customer,
            "leaf": mark.leaf,
            "ports": mark.ports,
            "sealed": base64.b64encode(sealed).decode(),
        }
        path = f"{self._folder}/{call}"
        new = f"{path}.new"
        fd = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, _JSON.encode(outer).encode(), 0)
        except OSError:
            os.unlink(new)
            raise
        finally:
            os.close(fd)
        os.rename(new, path)

    def mark_over(self, call: str) -> None:
        """Note that a call is over: a successor does not go on with it, only sees that it is indexed."""
        with suppress(FileNotFoundError):
            os.rename(f"{self._folder}/{call}", f"{self._folder}/{call}{OVER}")

    def remove(self, call: str) -> None:
        """Forget a call's checkpoint."""
        for path in (f"{self._folder}/{call}{OVER}", f"{self._folder}/{call}"):
            with suppress(FileNotFoundError):
                os.unlink(path)
                return

    def left(self) -> Iterator[Outer]:
        """Yield what a former life of the daemon left; unreadable ones are removed."""
        for path in sorted(self._folder.iterdir()):
            if path.name.endswith(".new"):
                path.unlink(missing_ok=True)
                continue
            outer = self._read(path)
            if outer is None:
                path.unlink(missing_ok=True)
            else:
                yield outer

    @staticmethod
    def _read(path: Path) -> Outer | None:
        try:
            if path.stat().st_size > MAX_BYTES:
                return None
            raw = json.loads(path.read_bytes())
            if raw["v"] != VERSION:
                return None
            call, over = path.name.removesuffix(OVER), path.name.endswith(OVER)
            return Outer(call, str(raw["customer"]), int(raw["leaf"]), path, base64.b64decode(raw["sealed"]), over)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @staticmethod
    def unseal(outer: Outer, keys: CustomerKeys) -> dict[str, Any] | None:
        """Return the sealed state, or nothing if its leaf was cut or it is damaged."""
        try:
            state = json.loads(keys.unseal(outer.leaf, "checkpoint", outer.sealed, outer.call.encode()))
        except (StorageError, ValueError):
            return None
        return state if isinstance(state, dict) else None
