"""Rendering of data subject requests, their candidates and reports as JSON; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, TypedDict, cast

from msgspec import Meta

from admin_api.exports.exports import problem_of
from admin_api.http.messages import Message
from admin_api.http.types import OBJECT_OR_NULL, AnyObject, Count, Id, Time, word
from admin_api.privacy.request_bodies import MEDIA
from storage.calls.call_document import PlainParty, Stream, revealed_parties
from storage.calls.call_row import CallState
from storage.erasure.erasure_rows import Erasure
from storage.exports.exports import Export, ExportState
from storage.exports.subject_filter import separable as of_one
from storage.subject_requests.candidates import Candidate as FoundCandidate
from storage.subject_requests.case_rows import DELAYS, GROUNDS, LONGEST_DELAY, OVER, Case, Kind, State
from storage.subject_requests.claims import Match as FoundMatch
from storage.timestamps import rfc3339

GONE = "gone"
"""State of a report whose file expired or was deleted with an erased call."""

_PERSON = ("role", "name", "number", "uri", "user_id")

_STATES = (*ExportState, GONE)


class Fetched(TypedDict):
    """Who fetched a report."""

    at: Time
    by: str


class WithoutMedia(TypedDict):
    """A call whose media a report lacks."""

    call: Id
    problem: str


class Progress(TypedDict, total=False):
    """How far a report is."""

    done: Count
    of: Count | None


class Report(TypedDict):
    """The report of a request."""

    id: Id
    state: Annotated[str, word(_STATES)]
    progress: Annotated[Progress | None, OBJECT_OR_NULL]
    media: Annotated[str, word(MEDIA)] | None
    silence_others: bool
    other_parties: bool
    encrypted: Annotated[str, word(("recipient", "passphrase"))] | None
    calls: Count | None
    size_bytes: Count | None
    sha256: str | None
    not_separable: list[Id]
    without_media: list[WithoutMedia]
    created_at: Time
    created_by: str
    expires_at: Time | None
    problem: str | None
    fetched: list[Fetched]


class Extension(TypedDict):
    """A longer time limit."""

    months: Annotated[int, Meta(ge=1, le=LONGEST_DELAY)]
    ground: Annotated[str, word(DELAYS)]
    told_at: Time
    at: Time
    by: str
    reason: str | None


Selected = TypedDict("Selected", {"in": Count, "out": Count, "undecided": Count})
"""How many candidates were confirmed, and how many of those need a choice of the party."""


class ErasureState(TypedDict, total=False):
    """The erasure of a request."""

    id: Id
    state: str


class Request(TypedDict):
    """A data subject request; the person's details are null once it is closed."""

    id: Id
    state: Annotated[str, word(State)]
    kind: list[Annotated[str, word(Kind)]]
    identities: list[str] | None
    user: Id | None
    reference: str | None
    reason: str | None
    received_at: Time
    due_at: Time
    extension: Annotated[Extension | None, OBJECT_OR_NULL]
    overdue: bool
    created_at: Time
    created_by: str
    changed_at: Time
    selection: Selected
    report: Report | None
    erasure: Annotated[ErasureState | None, OBJECT_OR_NULL]
    closed_at: Time | None
    closed_by: str | None
    ground: Annotated[str, word(GROUNDS)] | None
    record: AnyObject | None


class Person(TypedDict):
    """A party of a call that may be the person."""

    index: Count
    role: str | None
    name: str | None
    number: str | None
    uri: str | None
    user_id: str | None
    known_as: str | None


Match = TypedDict(
    "Match",
    {
        "party": Count,
        "role": str | None,
        "identity": str,
        "kind": Annotated[str, word(("number", "address", "name", "user"))],
        "from": Annotated[str, word(("letter", "directory"))],
        "until": Time | None,
        "sure": bool,
        "why": str,
    },
)
"""Why a call may concern the person."""


class Candidate(TypedDict):
    """A call that may concern the person: the person as known then, and only the number of everybody else."""

    call: Id
    started_at: Time
    ended_at: Time | None
    duration_ms: Count
    state: Annotated[str, word(CallState)]
    hold: bool
    erase_after: Time | None
    selected: Annotated[str, word(("in", "out"))] | None
    sure: bool
    choose: bool
    chosen: list[Count]
    parties: list[Person]
    others: Count
    separable: bool
    matches: list[Match]


def case(found: Case, now: datetime, report: Report | None, erasure: Erasure | None) -> Request:
    """Return a request in the form of the API; the person's details are null once it is closed."""
    asked, over = found.asked, found.state in OVER
    return {
        "id": found.id,
        "state": found.state.value,
        "kind": [kind.value for kind in found.kinds],
        "identities": None if asked is None else list(asked.identities),
        "user": None if asked is None else asked.user,
        "reference": None if asked is None else asked.reference,
        "reason": None if asked is None else asked.reason,
        "received_at": rfc3339(found.received_at),
        "due_at": rfc3339(found.due_at),
        "extension": _extension(found),
        "overdue": not over and now > found.due_at,
        "created_at": rfc3339(found.created_at),
        "created_by": found.created_by,
        "changed_at": rfc3339(found.changed_at),
        "selection": selected(found),
        "report": report,
        "erasure": None if erasure is None else {"id": erasure.id, "state": erasure.state.value},
        "closed_at": rfc3339(found.closed_at),
        "closed_by": found.closed_by,
        "ground": found.ground,
        "record": found.noted.get("record"),
    }


def _extension(found: Case) -> Extension | None:
    """Return the extension; what the person was told is null once the request is closed."""
    noted = found.extension
    if noted is None:
        return None
    times = {name: _milliseconds(noted[name]) for name in ("told_at", "at")}
    reason = None if found.asked is None else found.asked.delay
    return cast("Extension", {**noted, **times, "reason": reason})


def selected(found: Case) -> Selected:
    """Count the confirmed calls; for a closed request, from its record."""
    record = found.noted.get("record")
    if record is not None:
        return {"in": record["counts"]["selected"], "out": record["counts"]["left_out"], "undecided": 0}
    undecided = sum(not parties for parties in found.selection.inside.values())
    return {"in": len(found.selection.inside), "out": len(found.selection.outside), "undecided": undecided}


def report(noted: Mapping[str, Any], export: Export | None, progress: tuple[int, int | None] | None) -> Report:
    """Return a report from its notes, and from its export while that exists."""
    state = _state(noted, export)
    calls = noted.get("calls")
    return {
        "id": noted["export"],
        "state": state,
        "progress": {"done": progress[0], "of": progress[1]} if progress and state == ExportState.RUNNING else None,
        "media": noted["media"],
        "silence_others": noted["silence_others"],
        "other_parties": noted["other_parties"],
        "encrypted": noted["encrypted"],
        "calls": None if calls is None else len(calls),
        "size_bytes": noted.get("size_bytes"),
        "sha256": noted.get("sha256"),
        "not_separable": list(noted.get("not_separable") or ()),
        "without_media": list(noted.get("without_media") or ()),
        "created_at": _milliseconds(noted["asked_at"]),
        "created_by": noted["asked_by"],
        "expires_at": None if export is None else rfc3339(export.expires_at),
        "problem": problem_of(noted.get("problem"), noted.get("said")),
        "fetched": [{"at": _milliseconds(each["at"]), "by": each["by"]} for each in noted.get("fetched") or ()],
    }


def _state(noted: Mapping[str, Any], export: Export | None) -> str:
    """Return the state of a report; if its export ended after the notes were read, the next answer shows it as done."""
    done = bool(noted.get("done_at"))
    if export is None:
        return GONE if done else noted.get("state") or GONE
    return ExportState.RUNNING.value if export.state is ExportState.DONE and not done else export.state.value


def candidate(found: FoundCandidate, chosen: Case) -> Candidate:
    """Return a candidate: the person as known then, and only the number of everybody else."""
    row = found.row
    parties = revealed_parties(row.details)
    mine = sorted({match.party for match in found.matches})
    inside, outside = row.id in chosen.selection.inside, row.id in chosen.selection.outside
    return {
        "call": row.id,
        "started_at": rfc3339(row.started_at),
        "ended_at": rfc3339(row.ended_at),
        "duration_ms": row.duration_ms,
        "state": row.state.value,
        "hold": row.hold,
        "erase_after": rfc3339(row.erase_after),
        "selected": "in" if inside else "out" if outside else None,
        "sure": found.sure,
        "choose": not found.parties,
        "chosen": list(chosen.selection.inside.get(row.id, ())),
        "parties": [_person(number, parties[number], found.known_as) for number in mine],
        "others": len(parties) - len(mine),
        "separable": separable(row.details.get("streams") or ()),
        "matches": [_match(match, parties) for match in found.matches],
    }


def separable(streams: Sequence[Stream]) -> bool:
    """Return whether every stream belongs to one known party, so that one can be heard without the others."""
    return all(of_one(stream) for stream in streams)


def _person(number: int, party: PlainParty, known_as: str) -> Person:
    shown = {"index": number, **{name: party.get(name) for name in _PERSON}, "known_as": known_as or None}
    return cast("Person", shown)


def _match(match: FoundMatch, parties: Sequence[PlainParty]) -> Match:
    return {
        "party": match.party,
        "role": parties[match.party].get("role"),
        "identity": match.claim.text,
        "kind": match.claim.kind,
        "from": "directory" if match.claim.directory else "letter",
        "until": rfc3339(match.claim.until),
        "sure": match.sure,
        "why": Message(f"why.{match.why.name.lower()}", match.why.value),
    }


def _milliseconds(text: str) -> str:
    """Shorten a time stored with six fractional digits to the API's three."""
    return f"{text[:23]}Z" if len(text) == 27 else text
