"""When the keys were last backed up, and when `verify` last read everything and found no defect: a line each.

The first lies beside the keys, the second in the data directory. Neither is in a backup of the data, so after a restore
nothing passes for verified that is not. A copy of them proves nothing.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from storage.customer.customers import KEYS
from storage.files.durable_files import Disk
from storage.timestamps import from_text, rfc3339

_BACKED_UP = Path(KEYS, "backed-up")
_VERIFIED = Path(".verified")


def mark(data_dir: Path, at: datetime, disk: Disk) -> None:
    """Record a backup of the keys; raises StorageError."""
    _write(data_dir / _BACKED_UP, at, disk)


def backed_up_at(data_dir: Path) -> datetime | None:
    """Return the time of the last backup of the keys, None if unknown."""
    return _read(data_dir / _BACKED_UP)


def mark_verified(data_dir: Path, at: datetime, disk: Disk) -> None:
    """Record that everything was verified; raises StorageError."""
    _write(data_dir / _VERIFIED, at, disk)


def verified_at(data_dir: Path) -> datetime | None:
    """Return when everything was last verified, None if unknown."""
    return _read(data_dir / _VERIFIED)


def _write(path: Path, at: datetime, disk: Disk) -> None:
    disk.replace(path, rfc3339(at).encode())


def _read(path: Path) -> datetime | None:
    try:
        return from_text(path.read_text("ascii", "replace"))
    except (OSError, ValueError):
        return None
