"""The log of a request's reports, kept in the clear for ever: ids, counts, digests, who and when; pure.

A report is recorded when it is requested, when it ends, and each time its file is fetched.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from storage.timestamps import to_text

MAX_REPORTS = 50  # most reports logged for one request; the oldest are dropped
MAX_FETCHED = 100  # most fetches logged for one report
MADE = "done"

Noted = Mapping[str, Any]
"""Log of a request; `reports` is a list, oldest first."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Options of a report."""

    media: str | None = None
    """Format of the media files, None for none."""
    silence_others: bool = False
    """Whether everybody else is silenced in the audio."""
    other_parties: bool = False
    """Whether the report names everybody else too."""
    recipient: str | None = None
    """age recipient for whom it is encrypted."""
    passphrase: str | None = field(default=None, repr=False)
    """Passphrase with which age encrypts it."""

    @property
    def encrypted(self) -> str | None:
        """Return how it is encrypted."""
        return "recipient" if self.recipient else "passphrase" if self.passphrase else None


def asked_for(export: str, wanted: Wanted, by: str, at: datetime) -> dict[str, Any]:
    """Return the log entry of a requested report, without recipient and passphrase."""
    return {
        "export": export,
        "asked_at": to_text(at),
        "asked_by": by,
        "media": wanted.media,
        "silence_others": wanted.silence_others,
        "other_parties": wanted.other_parties,
        "encrypted": wanted.encrypted,
        "fetched": [],
    }


def with_report(noted: Noted, report: Mapping[str, Any]) -> Noted:
    """Add a report to the log."""
    return {**noted, "reports": [*noted.get("reports", ()), report][-MAX_REPORTS:]}


def with_end(noted: Noted, export: str, state: str, at: datetime, facts: Mapping[str, Any]) -> Noted:
    """Record the end of a report, with its time and the facts that the export gives."""
    ended = {"done_at" if state == MADE else "ended_at": to_text(at), "state": state, **facts}
    return _changed(noted, export, lambda _: ended)


def with_fetched(noted: Noted, export: str, at: datetime, by: str) -> Noted:
    """Record that somebody fetched the file of a report."""
    note = {"at": to_text(at), "by": by}
    return _changed(noted, export, lambda report: {"fetched": [*report.get("fetched", ()), note][-MAX_FETCHED:]})


def _changed(noted: Noted, export: str, more: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Noted:
    """Return the log with members added to one report."""
    reports = [{**one, **more(one)} if one["export"] == export else one for one in noted.get("reports", ())]
    return {**noted, "reports": reports}
