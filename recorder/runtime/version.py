"""The version of this program, and the commit that it is from."""

from __future__ import annotations

import re
from pathlib import Path

VERSION = "0.1.0"
"""As in the package's metadata, which takes it from here (semver)."""

_FOLDER = Path(__file__).parents[1]
_COMMIT = re.compile(r"[0-9a-f]{40}")


def commit() -> str | None:
    """Return the commit: setup.py leaves it in a package; in a checkout git's files have it. None if unknown."""
    found = _text(_FOLDER / "commit.txt") or _head(_FOLDER.parent / ".git")
    return found if _COMMIT.fullmatch(found) else None


def _head(folder: Path) -> str:
    """Return what HEAD of a git folder names (gitrepository-layout(5))."""
    reference = _text(folder / "HEAD").removeprefix("ref: ")
    if _COMMIT.fullmatch(reference):
        return reference
    packed = re.search(rf"^([0-9a-f]{{40}}) {re.escape(reference)}$", _text(folder / "packed-refs"), re.M)
    return _text(folder / reference) or (packed[1] if packed else "")


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
