"""Another version of the program beside ours: its files in a folder, from which `python -m recorder…` takes them."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]


def same_files(folder: Path) -> Path:
    """Copy the program; a main that began here, or whose `python_command.HOME` it is, has its workers from here."""
    for name in ("media", "sip", "storage", "admin_api"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "recorder", folder / "recorder", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def change_messages(folder: Path) -> None:
    """Put another version in place, whose Adopt has one field more."""
    table = folder / "recorder" / "workers" / "messages.py"
    before = table.read_text()
    after = before.replace(
        "    earlier: tuple[Key, ...] = ()\n", "    earlier: tuple[Key, ...] = ()\n    later: int = 0\n"
    )
    if after == before:
        raise LookupError("the table of messages looks otherwise now")
    table.write_text(after)
