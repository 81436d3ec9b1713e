"""What is noted of the reports of a request, in the clear and for ever: ids, counts, digests, who, when; pure.

A report is noted when it is asked for, when it ends, and each time its file is fetched.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from storage.timestamps import to_text

MAX_REPORTS = 50  # noted of one request; the oldest go first
MAX_FETCHED = 100  # noted of one report
MADE = "done"

Noted = Mapping[str, Any]
"""What is noted of a request; `reports` is a list, oldest first."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a report is to be."""

    media: str | None = None
    """Format of the media files, None for none."""
    silence_others: bool = False
    """Nobody but the person is to be heard."""
    other_parties: bool = False
    """Everybody else is named too."""
    recipient: str | None = None
    """Whom it is encrypted to by age."""
    passphrase: str | None = field(default=None, repr=False)
    """What it is encrypted with by age."""

    @property
    def encrypted(self) -> str | None:
        """Say how it is encrypted."""
        return "recipient" if self.recipient else "passphrase" if self.passphrase else None


def asked_for(export: str, wanted: Wanted, by: str, at: datetime) -> dict[str, Any]:
    """Return what is noted when a report is asked for; neither recipient nor passphrase is in it."""
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
    """Note one more report."""
    return {**noted, "reports": [*noted.get("reports", ()), report][-MAX_REPORTS:]}


def with_end(noted: Noted, export: str, state: str, at: datetime, facts: Mapping[str, Any]) -> Noted:
    """Note how a report ended: when, and what its maker says of it."""
    ended = {"done_at" if state == MADE else "ended_at": to_text(at), "state": state, **facts}
    return _changed(noted, export, lambda _: ended)


def with_fetched(noted: Noted, export: str, at: datetime, by: str) -> Noted:
    """Note that the file of a report was handed to somebody."""
    note = {"at": to_text(at), "by": by}
    return _changed(noted, export, lambda report: {"fetched": [*report.get("fetched", ()), note][-MAX_FETCHED:]})


def _changed(noted: Noted, export: str, more: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Noted:
    """Return what is noted with more of one report."""
    reports = [{**one, **more(one)} if one["export"] == export else one for one in noted.get("reports", ())]
    return {**noted, "reports": reports}
