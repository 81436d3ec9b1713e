"""A file of incidents: one JSON line each, newest last, without personal data (docs/formats/incidents.md).

A line replaces an earlier one with the same id (its count has risen). Lines are appended without a sync; the next sync
in the data directory writes them out. A file that replaces another is synced first. Torn or foreign lines are skipped,
so a damaged file never stops recording.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from storage.files.durable_files import PRIVATE_FILE, opened, write_all
from storage.json_bytes import ascii_json
from storage.timestamps import from_text, to_text

FILE_NAME = "incidents.jsonl"
# Incidents kept for one customer, or for the node. A flood of one kind is one incident a minute: this covers a week.
KEPT = 10_000
# A line has about 150 bytes, so the file is rewritten when about half of it is out of date.
MAX_BYTES = 4 << 20
_WORD = re.compile(r"[a-z][a-z0-9_.-]{0,47}")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIGITS = re.compile(r"[0-9]{5}")
_LINE = re.compile(rb'\{"id":"([^"\\]+)",.+\}\}')  # as `_line` writes it
_MAX_NUMBER = 10**9
OTHER = "other"


@dataclass(slots=True)
class Incident:
    """Something that happened, once or several times within a minute."""

    id: str
    """Id of the incident; names its line in the file."""
    kind: str
    """What happened, as a code word."""
    first: datetime
    """When it happened first."""
    last: datetime
    """When it happened last."""
    count: int = 1
    """How often it happened."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Codes, counts and random ids."""


def clean(value: Any) -> Any:
    """Return a fact if it is a code word, a random id or a small number, otherwise "other"."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < _MAX_NUMBER else OTHER
    text = str(value)
    if _ID.fullmatch(text) or text == "":
        return text
    return text if _WORD.fullmatch(text) and not _DIGITS.search(text) else OTHER


class IncidentFile:
    """The incidents of one customer, or of the node."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME

    def append(self, incidents: Iterable[Incident]) -> bool:
        """Append incidents; raises OSError. Return True if it is time to `renew`.

        Each write begins with a line feed, because an earlier write may have left half a line.
        """
        data = b"".join(b"\n" + _line(each) for each in incidents) + b"\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            if os.write(descriptor, data) < len(data):
                raise OSError("the disk took only part of the line")
            return os.fstat(descriptor).st_size > MAX_BYTES
        finally:
            os.close(descriptor)

    def read(self) -> list[Incident]:
        """Return the newest KEPT incidents, oldest first; raise OSError."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        found: dict[str, Incident] = {}
        for line in data.splitlines():
            incident = _read(line)
            if incident:
                found[incident.id] = incident
        return list(found.values())[-KEPT:]

    def renew(self) -> None:
        """Rewrite the file without outdated lines; raises OSError, and then the old file stays.

        Lines are matched by their ids and not parsed, because a caller waits.
        """
        draft = self._path.with_name(f".{FILE_NAME}.part")
        found: dict[bytes, bytes] = {}
        for line in self._path.read_bytes().splitlines():
            if whole := _LINE.fullmatch(line):
                found[whole[1]] = line
        data = b"".join(line + b"\n" for line in list(found.values())[-KEPT:])
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            write_all(descriptor, data, 0)
            os.fsync(descriptor)  # otherwise a power cut could leave the name with an empty file
        except OSError:
            with suppress(OSError):
                draft.unlink()
            raise
        finally:
            os.close(descriptor)
        draft.rename(self._path)
        with opened(self._path.parent, os.O_RDONLY | os.O_DIRECTORY) as folder:
            os.fsync(folder)


def _line(each: Incident) -> bytes:
    known = {"id": each.id, "kind": each.kind, "first_at": to_text(each.first), "last_at": to_text(each.last)}
    facts = {name: clean(value) for name, value in each.facts.items()}
    return ascii_json({**known, "count": each.count, "facts": facts})


def _read(line: bytes) -> Incident | None:
    try:
        found = json.loads(line)
        facts = {str(name): clean(value) for name, value in found["facts"].items()}
        first, last = from_text(found["first_at"]), from_text(found["last_at"])
        return Incident(str(found["id"]), str(clean(found["kind"])), first, last, int(found["count"]), facts)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
