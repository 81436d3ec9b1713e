"""The formats on disk: the vectors that docs/formats shows, and how files that were just written look from outside.

The tests of storage and media check that the code reads and writes the vectors; here the vectors themselves are held,
so that code and page cannot change together.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.surface import looks
from tests.surface.sources import ROOT

PAGES = ROOT / "docs" / "formats"
STATES = (0, 8 << 20)  # where the two states of a live call begin in its file
SPOOL = 16 << 20
_HEAD = struct.Struct("!IIBIIQ")
_HEX = re.compile(r"(?:[0-9a-f]{2} ?){8,}")


def vectors() -> dict[str, Any]:
    """Return the JSON blocks and the long hexadecimal values of each page, in their order."""
    found = {}
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text()
        blocks = re.findall(r"```json\n(.*?)```", text, re.S)
        outside = re.sub(r"```json\n.*?```", "", text, flags=re.S)
        values = [match.strip() for match in _HEX.findall(outside) if not match.strip().isdecimal()]
        if values or blocks:
            found[page.name] = {"values": values, "JSON": [_block(block.strip()) for block in blocks]}
    return found


def _block(text: str) -> Any:
    """Return a JSON block: a vector byte by byte, a schema without its sentences."""
    return looks.openapi(json.loads(text)) if "$schema" in text else text.split("\n")


def live_state(runtime_dir: Path) -> dict[str, Any]:
    """Return what can be read of a live call's file without its keys."""
    for path in sorted((runtime_dir / "live").iterdir()):
        data = path.read_bytes()
        for at in STATES:
            if len(data) < at + _HEAD.size or not data[at]:
                continue
            magic, _, over, outer, _, _ = _HEAD.unpack_from(data, at)
            said = json.loads(data[at + _HEAD.size : at + _HEAD.size + outer])
            spool = sorted({name.decode() for name in re.findall(rb"SPO\d|BAS\d", data[SPOOL:])})
            return {"magic": f"{magic:08x}", "over": over, "v": said["v"], "members": sorted(said), "spool": spool}
    return {}


def files(data_dir: Path) -> dict[str, Any]:
    """Return the files of a data directory, ids left out, with the members of the newest line of those that are JSON.

    Hidden ones (locks, reserved room) are no formats.
    """
    found: dict[str, Any] = {}
    for path in sorted(path for path in data_dir.rglob("*") if path.is_file()):
        name = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", path.relative_to(data_dir).as_posix())
        name = re.sub(r"/\d{5}/", "/DAY/", re.sub(r"\.[0-9a-f]{12}\.", ".LEAF.", name))
        if path.name.startswith(".") or re.search(r"-(wal|shm|journal)$|\.lock$", name):
            continue  # the latter are SQLite's own, there or not
        found[name] = _members(path.read_bytes())
    return found


def _members(data: bytes) -> Any:
    """Return the members of a JSON document, or of the last whole line, in their order; else what it begins with."""
    for text in (data, *reversed(data.rstrip(b"\0 \n").split(b"\n")[-1:])):
        try:
            value = json.loads(text)
        except ValueError:
            continue
        return list(value) if isinstance(value, dict) else type(value).__name__
    magic = data[:4]
    return magic.decode() if re.fullmatch(rb"[A-Z]{3}[A-Z0-9]", magic) else "bytes"


def opened(folder: Path, part: Path) -> dict[str, Any]:
    """Open a part by the stand-alone reader of docs/formats, which shares no code with the recorder."""
    keys: list[str | Path] = ["--customer", "acme", "--root", folder / "root.key", "--keys", folder / "data" / "keys"]
    done = subprocess.run(
        [sys.executable, "-I", PAGES / "reader.py", part, *keys], capture_output=True, timeout=60, check=False
    )
    return {"status": done.returncode, "opened": bool(done.stdout)}
