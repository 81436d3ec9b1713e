"""Whether a folder of ours can be written to, found out by doing it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from recorder.errors import NotPossible

PROBE = ".probe"
PROBE_BYTES = 4096
"""A block: an empty file can be made on a full disk."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Of the data no reason to stay away: live calls go on, callers get a clear refusal, erasing works without space."""


def probe(folder: Path) -> None:
    """Write, sync and remove a small file; raises OSError."""
    path = folder / PROBE
    try:
        with path.open("wb") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)


def make_folder(folder: Path, *, full: bool = False) -> None:
    """Make a folder of ours if it is missing; a clear sentence if it cannot be used. `full`: it may be full."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe(folder)
    except OSError as error:
        if full and error.errno in FULL and folder.is_dir():
            return
        reason = os.strerror(error.errno or 0)
        raise NotPossible(
            f"{folder} cannot be written: {reason}.", "Give it to the recorder's user, or free some space there."
        ) from None
