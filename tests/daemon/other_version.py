"""Another version of the program: a folder of its files, which `python -m recorder…` loads."""

from __future__ import annotations

import shutil
from pathlib import Path

from recorder.persist.checkpoint_file import VERSION as STATE
from recorder.runtime.version import VERSION

ROOT = Path(__file__).parents[2]


def same_files(folder: Path) -> Path:
    """Copy the program; a main process started there, or with it as `python_command.HOME`, starts its workers there."""
    for name in ("media", "sip", "storage", "admin_api"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "recorder", folder / "recorder", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def change_version(folder: Path, version: str) -> None:
    """Change its version number."""
    _replace(folder / "recorder/runtime/version.py", f'VERSION = "{VERSION}"', f'VERSION = "{version}"')


def change_formats(folder: Path) -> None:
    """Make it write live calls and a journal in formats that no earlier version can read."""
    _replace(folder / "recorder/persist/checkpoint_file.py", f"\nVERSION = {STATE}\n", f"\nVERSION = {STATE + 1}\n")
    _replace(folder / "recorder/persist/data_formats.py", '    "journal": 2,', '    "journal": 99,')


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if text.count(old) != 1:
        raise LookupError(f"{path} looks otherwise now")
    path.write_text(text.replace(old, new))


def change_messages(folder: Path) -> None:
    """Add a field to its message Adopt."""
    field = "    earlier: tuple[Key, ...] = ()\n"
    _replace(folder / "recorder/workers/messages.py", field, f"{field}    later: int = 0\n")
