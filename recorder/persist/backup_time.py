"""When the keys were last backed up: one line beside them, so that the page can say it; a copy of it proves nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from storage.customer.customers import KEYS
from storage.files.durable_files import Disk

_NAME = "backed-up"


def mark(data_dir: Path, at: datetime, disk: Disk) -> None:
    """Write down a backup; raises StorageError."""
    disk.replace(data_dir / KEYS / _NAME, at.astimezone(UTC).isoformat(timespec="seconds").encode())


def backed_up_at(data_dir: Path) -> datetime | None:
    """Return when it was, None if it is not known."""
    try:
        found = datetime.fromisoformat((data_dir / KEYS / _NAME).read_text("ascii", "replace"))
    except (OSError, ValueError):
        return None
    return found.astimezone(UTC) if found.tzinfo else None
