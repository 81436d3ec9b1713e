"""When the keys were last backed up: one line next to them, which the page shows. A copy of it proves nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from storage.customer.customers import KEYS
from storage.files.durable_files import Disk

_NAME = "backed-up"


def mark(data_dir: Path, at: datetime, disk: Disk) -> None:
    """Record a backup; raises StorageError."""
    disk.replace(data_dir / KEYS / _NAME, at.astimezone(UTC).isoformat(timespec="seconds").encode())


def backed_up_at(data_dir: Path) -> datetime | None:
    """Return the time of the last backup, None if unknown."""
    try:
        found = datetime.fromisoformat((data_dir / KEYS / _NAME).read_text("ascii", "replace"))
    except (OSError, ValueError):
        return None
    return found.astimezone(UTC) if found.tzinfo else None
