"""Which formats the data directory holds, so that an older program can report before it starts what it cannot read.

    data_dir/formats.json = {"version": "0.1.0", "formats": {"container": 1, "journal": 2, …}}

A start raises the numbers to its own and never lowers them; `version` is the program that raised them last. Not every
file contains its version: a container, for example, does not. The database has its own version, and so have live calls.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from recorder.runtime.version import VERSION
from storage.errors import StorageError
from storage.files.durable_files import Disk

NAME = "formats.json"

FORMATS = {
    "accounts": 1,
    "audit": 1,
    "container": 1,
    "formats": 1,
    "incidents": 1,
    "journal": 2,
    "keytree": 1,
    "ledger": 1,
    "objects": 1,
    "receipt": 2,
    "records": 1,
}
"""What this program writes: the pages of docs/formats, with their versions. Raise one when the previous version could
not read what is written now."""


@dataclass(frozen=True, slots=True)
class DataFormats:
    """What is known of the formats in a data directory."""

    version: str  # the program that raised them last; empty if unknown
    numbers: dict[str, int]

    def newer(self) -> dict[str, int]:
        """Return the formats that this program cannot read."""
        return {name: number for name, number in self.numbers.items() if number > FORMATS.get(name, 0)}


def read(data_dir: Path) -> DataFormats:
    """Return what the file says; nothing where it is missing or damaged."""
    try:
        content = json.loads((data_dir / NAME).read_bytes())
        numbers = {str(name): number for name, number in content["formats"].items() if type(number) is int}
        return DataFormats(str(content["version"]), numbers)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return DataFormats("", {})


def note_ours(data_dir: Path) -> None:
    """Write down what this program may write from now on. A full disk prevents that but does not stop the start."""
    found = read(data_dir)
    raised = {name: max(number, found.numbers.get(name, 0)) for name, number in FORMATS.items()}
    if raised.items() <= found.numbers.items():
        return
    data = json.dumps({"version": VERSION, "formats": found.numbers | raised}, indent=2).encode() + b"\n"
    with suppress(StorageError):
        Disk().replace(data_dir / NAME, data)
