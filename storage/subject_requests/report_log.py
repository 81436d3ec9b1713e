"""The log of a request's reports, in the clear and for ever: ids, counts, digests, who, when; pure.

A report is recorded when it is requested, when it ends, and each time its file is fetched.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from storage.timestamps import to_text

MAX_REPORTS = 50  # recorded of one request; the oldest are dropped
MAX_FETCHED = 100  # recorded of one report
MADE = "done"

Noted = Mapping[str, Any]
"""What is recorded of a request; `reports` is a list, oldest first."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How to make a report."""

    media: str | None = None
    """Format of the media files, None for none."""
    silence_others: bool = False
    """Whether only the person may be heard."""
    other_parties: bool = False
    """Whether everybody else is named too."""
    recipient: str | None = None
    """age recipient that it is encrypted to."""
    passphrase: str | None = field(default=None, repr=False)
    """Passphrase that age encrypts it with."""

    @property
    def encrypted(self) -> str | None:
        """Return how it is encrypted."""
        return "recipient" if self.recipient else "passphrase" if self.passphrase else None


def asked_for(export: str, wanted: Wanted, by: str, at: datetime) -> dict[str, Any]:
    """Return what is recorded when a report is requested, without recipient and passphrase."""
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
    """Record the end of a report: when, and the facts that the export gives."""
    ended = {"done_at" if state == MADE else "ended_at": to_text(at), "state": state, **facts}
    return _changed(noted, export, lambda _: ended)


def with_fetched(noted: Noted, export: str, at: datetime, by: str) -> Noted:
    """Record that the file of a report was handed out."""
    note = {"at": to_text(at), "by": by}
    return _changed(noted, export, lambda report: {"fetched": [*report.get("fetched", ()), note][-MAX_FETCHED:]})


def _changed(noted: Noted, export: str, more: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Noted:
    """Return the log with more about one report."""
    reports = [{**one, **more(one)} if one["export"] == export else one for one in noted.get("reports", ())]
    return {**noted, "reports": reports}
