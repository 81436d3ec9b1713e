"""The file `keys/NAME.holder` (JSON), which says whether this node must return before it opens anything.

    {"returning": null, "at": RFC 3339}     it acknowledged at this time, and need not return
    {"returning": ""}                       it must return; the id of the line is not chosen yet
    {"returning": ID}                       it must return; this is the id of the line

A node without the file must return. A node whose keys were restored must return too: `recorder keys backup` leaves the
file out, and `recorder keys restore` deletes it. A copy of `keys/` that somebody puts back is noticed because its time
is old, or because the database has a newer acknowledgement.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from storage.files.durable_files import Disk
from storage.json_bytes import ascii_json
from storage.timestamps import from_text, to_text

ENDING = "holder"


@dataclass(frozen=True, slots=True)
class Standing:
    """Content of the file."""

    returning: str | None
    """Id of the line of the return; "" if it is not chosen yet, None if this node need not return."""
    at: datetime | None = None
    """When this node last acknowledged, by the clock of the database; approximate, as not every time is written."""


class ReturnFile:
    """The return file of one customer; the daemon's holder loop writes it, or commands if no daemon runs."""

    def __init__(self, keys_dir: Path, customer: str) -> None:
        self._path = keys_dir / f"{customer}.{ENDING}"

    def read(self) -> Standing:
        """Return the content of the file; a node with a missing or damaged file must return."""
        try:
            members = json.loads(self._path.read_bytes())
            at, returning = members.get("at"), members["returning"]
            if returning is not None and not isinstance(returning, str):
                raise ValueError
            return Standing(returning, None if at is None else from_text(at))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return Standing("")

    def write(self, standing: Standing) -> None:
        """Replace the file durably; raises NoSpace, DiskFailed."""
        at = None if standing.at is None else to_text(standing.at)
        Disk().replace(self._path, ascii_json({"returning": standing.returning, "at": at}))

    def remove(self) -> None:
        """Delete the file, so that this node must return before it opens anything."""
        Disk().remove(self._path)
