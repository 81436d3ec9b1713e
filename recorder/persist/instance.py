"""The random id of this boot of this machine: a file in runtime_dir, which no copy of a disk and no reboot brings back.

The kernel's own boot id cannot be read by the service (ProcSubset=pid).
"""

from __future__ import annotations

import os
from pathlib import Path

NAME = "instance"


def make(runtime_dir: Path) -> None:
    """Make the id unless there is one; the daemon does, holding the lock of its data directory."""
    if not read(runtime_dir):
        draft = runtime_dir / f".{NAME}"
        draft.write_text(os.urandom(16).hex(), "ascii")
        draft.replace(runtime_dir / NAME)


def read(runtime_dir: Path) -> str:
    """Return the id, "" if no daemon has run since the machine started."""
    try:
        return (runtime_dir / NAME).read_text("ascii", "replace")[:32]
    except OSError:
        return ""
