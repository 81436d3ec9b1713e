"""Build what a data subject is told about the calls that concern them, as JSON values; pure.

The format is docs/formats/subject-report.md. Other people appear only as a number, unless the administrator asks for
more: names, numbers, addresses, corrections and transcripts may be about others. People who accessed a call are named
by role and time, not by name, because employees who work with the recordings have rights too (CJEU C-579/21).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from admin_api.directory.users import shown as user_shown
from storage.calls.call_document import PlainParty, Stream, revealed_parties
from storage.calls.call_index import CallRow
from storage.directory.user import User
from storage.exports.subject_filter import Stretch, stretches
from storage.retention.policy import Decision
from storage.retention.rules import Stored
from storage.subject_requests.case_rows import Case
from storage.subject_requests.claims import known_as
from storage.timestamps import rfc3339

FORMAT = "siprec-recorder/subject-report"
VERSION = 1
SEEN: Mapping[str, str] = {
    "call.view": "viewed",
    "call.media": "heard",
    "call.attachment": "read",
    "user.view": "viewed",
    "user.export": "exported",
    "export.file": "exported",
    "request.report_file": "exported",
}
"""Audit log actions that show somebody's data, and how the report describes them."""

_PARTY = ("role", "name", "number", "uri", "joined_at", "left_at")


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What is known about one call in addition to its row."""

    parties: Collection[int]
    """Positions of the participants that are the person."""
    decision: Decision
    """Its retention rule and end."""
    held_since: datetime | None
    """Start of its legal hold."""
    file: str | None
    """Name of its media file in the zip."""
    problem: str | None
    """Why there are no media, or what is missing in them."""
    annotations: Sequence[Mapping[str, Any]]
    """Corrections."""
    attachments: Sequence[Mapping[str, Any]]
    """Transcripts and chats, each with its `file` in the zip."""


def call(row: CallRow, facts: CallFacts, user: User | None, *, others: bool) -> dict[str, Any]:
    """Return what the person is told about a call; `seen` adds who accessed it."""
    parties = revealed_parties(row.details)
    rest = [party for number, party in enumerate(parties) if number not in facts.parties]
    name = known_as(user, row.started_at) if user is not None else ""
    shown: dict[str, Any] = {
        "id": row.id,
        "state": row.state.value,
        "started_at": rfc3339(row.started_at),
        "ended_at": rfc3339(row.ended_at),
        "duration_ms": row.duration_ms,
        "person": [_person(parties[n], name) for n in sorted(facts.parties) if n < len(parties)],
        "others": len(rest),
        "streams": [_stream(stream, facts.parties) for stream in row.details.get("streams") or ()],
        "media": {"file": facts.file, "problem": facts.problem},
        "annotations": len(facts.annotations),
        "attachments": len(facts.attachments),
        "kept": {"until": rfc3339(facts.decision.erase_after), "held_since": rfc3339(facts.held_since)},
        "seen": [],
    }
    if others:
        shown["other_parties"] = [_party(party) for party in rest]
        shown["annotation_texts"] = [_unsigned(note) for note in facts.annotations]
        shown["attachment_files"] = [_unsigned(each) for each in facts.attachments]
    return shown


def because(shown: dict[str, Any], decision: Decision, stored: Stored) -> None:
    """Describe the rule by which a call is kept; give only its days, because its name may be about others."""
    rule = next((rule for rule in stored.rules if rule.id == decision.rule), None)
    days = stored.default_days if decision.rule is None else rule.spec.days if rule is not None else None
    shown["kept"] |= {"by": "default" if decision.rule is None else "rule", "days": days}


def seen(entries: Iterable[Mapping[str, Any]], of: Mapping[str, Collection[str]]) -> dict[str, list[dict[str, Any]]]:
    """Group accesses by call: `of` gives the calls of each object of the audit log."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        what = SEEN.get(str(entry.get("action")))
        if what is None or entry.get("outcome") != "done":
            continue
        access = {"at": entry["time"], "what": what, "role": entry["role"]}
        for id in of.get(str(entry.get("object")), ()):
            found.setdefault(id, []).append(access)
    return found


def head(case: Case, customer: str, now: datetime) -> dict[str, Any]:
    """Return the part before the calls."""
    asked = case.asked
    return {
        "format": FORMAT,
        "version": VERSION,
        "customer": customer,
        "created_at": rfc3339(now),
        "request": {
            "id": case.id,
            "kind": [kind.value for kind in case.kinds],
            "received_at": rfc3339(case.received_at),
            "due_at": rfc3339(case.due_at),
        },
        "identities": [] if asked is None else list(asked.identities),
    }


def user_record(user: User, seen_by: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the person's directory record, and who accessed it."""
    return {**user_shown(user), "seen": list(seen_by)}


def _unsigned(written: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the author: employees are not named in the report."""
    return {name: value for name, value in written.items() if name != "created_by"}


def _person(party: PlainParty, known_as: str) -> dict[str, Any]:
    return {**_party(party), "also": list(party.get("also") or ()), "known_as": known_as or None}


def _party(party: PlainParty) -> dict[str, Any]:
    return {name: party.get(name) for name in _PARTY}


def _stream(stream: Stream, mine: Collection[int]) -> dict[str, Any]:
    """Return whose voice it contains; `moments` if that changed, so that speakers before a transfer are kept."""
    parts = [(each, _whose(each.party, mine)) for each in stretches(stream)]
    said = {whose for _, whose in parts}
    mixed = "several" if said & {"person", "several"} else "unknown" if "unknown" in said else "others"
    whole = said.pop() if len(said) == 1 else mixed
    shown = {"media": stream.get("media"), "codec": stream.get("codec"), "of": whole}
    return shown if len(parts) == 1 else {**shown, "moments": [_moment(each, whose) for each, whose in parts]}


def _moment(each: Stretch, whose: str) -> dict[str, Any]:
    return {"from": each.begin, "to": each.end, "of": whose}


def _whose(party: object, mine: Collection[int]) -> str:
    if isinstance(party, list):
        return "several" if set(mine) & set(party) else "others"
    if not isinstance(party, int):
        return "unknown"
    return "person" if party in mine else "others"
