"""Object stores that were seen to keep a lock: `recorder store check` notes them, and a start with [storage] lock asks.

    data_dir/object-stores.json = {"version": 1, "locks": ["https://s3.example/bucket", …]}

No lock may be requested from any other store: some stores overwrite an object with the request for its lock.
"""

from __future__ import annotations

import json
from pathlib import Path

from storage.files.durable_files import Disk

NAME = "object-stores.json"
_VERSION = 1


def locks(data_dir: Path, endpoint: str | None, bucket: str | None) -> bool:
    """Return whether a bucket was seen to keep a lock."""
    return f"{endpoint}/{bucket}" in _read(data_dir)


def note(data_dir: Path, endpoint: str, bucket: str, *, seen: bool) -> None:
    """Note whether a bucket was seen to keep a lock, if data_dir exists; raises StorageError."""
    before, place = _read(data_dir), {f"{endpoint}/{bucket}"}
    after = before | place if seen else before - place
    if after != before and data_dir.is_dir():
        data = json.dumps({"version": _VERSION, "locks": sorted(after)}, indent=2).encode() + b"\n"
        Disk().replace(data_dir / NAME, data)


def _read(data_dir: Path) -> frozenset[str]:
    try:
        return frozenset(str(each) for each in json.loads((data_dir / NAME).read_bytes())["locks"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return frozenset()
