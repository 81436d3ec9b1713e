"""Schemas and examples of data subject requests and of column sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from admin_api.exports import columns
from storage.exports.column_sets import MAX_NAME
from storage.keys.sealing import MAX_TEXT
from storage.subject_requests.case_rows import DELAYS, GROUNDS, LONGEST_DELAY, OUTCOMES, Kind, State

_CASE_ID = "4c0d9a52-3b1e-4c8f-9a37-5f0b6d2e8a10"
_CALL_ID = "6f1c7e0a-2f0b-4c57-9d4e-0b6a4b1f7c11"
_EXPORT_ID = "0d5a1b7e-6c2f-4e0b-8f55-7a9c3d1e4b20"
_MEDIA = ["wav", "flac", "opus", "mp3", "mkv"]
_ID: dict[str, Any] = {"type": "string", "format": "uuid"}
_MAYBE_ID = {"type": ["string", "null"], "format": "uuid"}
_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_TIME = {"type": "string", "format": "date-time"}
_MAYBE_TIME = {"type": ["string", "null"], "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 0}
_MAYBE_COUNT = {"type": ["integer", "null"], "minimum": 0}
_FLAG = {"type": "boolean"}
_IDS = {"type": "array", "items": _TEXT, "maxItems": 20_000}
_CHOSEN = {
    "type": "array",
    "maxItems": 20_000,
    "items": {
        "anyOf": [
            _TEXT,
            {
                "type": "object",
                "properties": {"call": _TEXT, "parties": {"type": "array", "items": _COUNT, "minItems": 1}},
                "required": ["call", "parties"],
                "additionalProperties": False,
            },
        ]
    },
}
_COLUMNS = {
    "type": "array",
    "items": {"enum": list(columns.COLUMNS)},
    "minItems": 1,
    "maxItems": columns.MAX_COLUMNS,
    "uniqueItems": True,
}


def _shown(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Describe an answer with all members present; later versions may add members."""
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _asked(properties: Mapping[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
    """Describe a request; undeclared members are refused."""
    given = {"type": "object", "properties": dict(properties), "required": list(required)}
    return {**given, "additionalProperties": False}


def _said(most: int, *, maybe: bool = False) -> dict[str, Any]:
    kind: Any = ["string", "null"] if maybe else "string"
    return {"type": kind, "minLength": 1, "maxLength": most, "pattern": r"\S"}


def _page(name: str) -> dict[str, Any]:
    items = {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}
    return _shown({"items": items, "next_cursor": _MAYBE_TEXT})


_FETCHED = {"type": "array", "items": _shown({"at": _TIME, "by": _TEXT})}
_WITHOUT = {"type": "array", "items": _shown({"call": _ID, "problem": _TEXT})}
_REPORT = {
    "id": _ID,
    "state": {"enum": ["running", "done", "failed", "cancelled", "gone"]},
    "progress": {"type": ["object", "null"], "properties": {"done": _COUNT, "of": _MAYBE_COUNT}},
    "media": {"enum": [*_MEDIA, None]},
    "silence_others": _FLAG,
    "other_parties": _FLAG,
    "encrypted": {"enum": ["recipient", "passphrase", None]},
    "calls": _MAYBE_COUNT,
    "size_bytes": _MAYBE_COUNT,
    "sha256": _MAYBE_TEXT,
    "not_separable": {"type": "array", "items": _ID},
    "without_media": _WITHOUT,
    "created_at": _TIME,
    "created_by": _TEXT,
    "expires_at": _MAYBE_TIME,
    "problem": _MAYBE_TEXT,
    "fetched": _FETCHED,
}
_MONTHS = {"type": "integer", "minimum": 1, "maximum": LONGEST_DELAY}
_EXTENSION = {
    **_shown(
        {
            "months": _MONTHS,
            "ground": {"enum": list(DELAYS)},
            "told_at": _TIME,
            "at": _TIME,
            "by": _TEXT,
            "reason": _MAYBE_TEXT,
        }
    ),
    "type": ["object", "null"],
}
_CASE = {
    "id": _ID,
    "state": {"enum": [state.value for state in State]},
    "kind": {"type": "array", "items": {"enum": [kind.value for kind in Kind]}},
    "identities": {"type": ["array", "null"], "items": _TEXT},
    "user": _MAYBE_ID,
    "reference": _MAYBE_TEXT,
    "reason": _MAYBE_TEXT,
    "received_at": _TIME,
    "due_at": _TIME,
    "extension": _EXTENSION,
    "overdue": _FLAG,
    "created_at": _TIME,
    "created_by": _TEXT,
    "changed_at": _TIME,
    "selection": _shown({"in": _COUNT, "out": _COUNT, "undecided": _COUNT}),
    "report": {"anyOf": [{"$ref": "#/components/schemas/Report"}, {"type": "null"}]},
    "erasure": {"type": ["object", "null"], "properties": {"id": _ID, "state": _TEXT}},
    "closed_at": _MAYBE_TIME,
    "closed_by": _MAYBE_TEXT,
    "ground": {"enum": [*GROUNDS, None]},
    "record": {"type": ["object", "null"]},
}
_PERSON = _shown(
    {
        "index": _COUNT,
        **dict.fromkeys(("role", "name", "number", "uri", "user_id", "known_as"), _MAYBE_TEXT),
    }
)
_MATCH = _shown(
    {
        "party": _COUNT,
        "role": _MAYBE_TEXT,
        "identity": _TEXT,
        "kind": {"enum": ["number", "address", "name", "user"]},
        "from": {"enum": ["letter", "directory"]},
        "until": _MAYBE_TIME,
        "sure": _FLAG,
        "why": _TEXT,
    }
)
_CANDIDATE = {
    "call": _ID,
    "started_at": _TIME,
    "ended_at": _MAYBE_TIME,
    "duration_ms": _COUNT,
    "state": {"enum": ["recording", "complete", "interrupted"]},
    "hold": _FLAG,
    "erase_after": _MAYBE_TIME,
    "selected": {"enum": ["in", "out", None]},
    "sure": _FLAG,
    "choose": _FLAG,
    "chosen": {"type": "array", "items": _COUNT},
    "parties": {"type": "array", "items": _PERSON},
    "others": _COUNT,
    "separable": _FLAG,
    "matches": {"type": "array", "items": _MATCH},
}

SCHEMAS: Mapping[str, Any] = {
    "ColumnSet": _shown(
        {
            "id": _ID,
            "name": _TEXT,
            "columns": {"type": "array", "items": _TEXT},
            "other_parties": _FLAG,
            "changed_at": _TIME,
            "changed_by": _TEXT,
        }
    ),
    "ColumnSetPage": _page("ColumnSet"),
    "ColumnSetRequest": _asked({"columns": _COLUMNS, "name": _said(MAX_NAME, maybe=True)}, ("columns",)),
    "Request": _shown(_CASE),
    "RequestPage": _page("Request"),
    "RequestRequest": {
        **_asked(
            {
                "kind": {
                    "anyOf": [
                        {"enum": [kind.value for kind in Kind]},
                        {"type": "array", "minItems": 1, "items": {"enum": [kind.value for kind in Kind]}},
                    ]
                },
                "identities": {"type": ["array", "null"], "items": _said(512), "maxItems": 50},
                "user": _MAYBE_ID,
                "received_at": _MAYBE_TIME,
                "reference": _said(200, maybe=True),
                "reason": _said(MAX_TEXT, maybe=True),
            },
            ("kind",),
        ),
        "description": "One identity or a user is needed.",
    },
    "Candidate": _shown(_CANDIDATE),
    "CandidatePage": _page("Candidate"),
    "SelectionRequest": _asked({"in": _CHOSEN, "out": _IDS}),
    "ExtensionRequest": {
        **_asked(
            {
                "months": _MONTHS,
                "ground": {"enum": list(DELAYS)},
                "told_at": _MAYBE_TIME,
                "reason": _said(MAX_TEXT),
            },
            ("months", "ground", "reason"),
        ),
        "description": "`told_at`: null means now; it lies in the month after the letter arrived (Art. 12(3)).",
    },
    "Report": _shown(_REPORT),
    "ReportRequest": {
        **_asked(
            {
                "media": {"enum": [*_MEDIA, None]},
                "silence_others": _FLAG,
                "other_parties": _FLAG,
                "recipient": {"type": ["string", "null"], "pattern": "^age1"},
                "passphrase": {"type": ["string", "null"], "minLength": 12, "maxLength": 512, "pattern": r"\S"},
            }
        ),
        "description": "At most one of `recipient` and `passphrase`; `silence_others` only with `media`.",
    },
    "RequestErasureRequest": _asked({"reason": _said(MAX_TEXT)}, ("reason",)),
    "CloseRequest": {
        **_asked(
            {"outcome": {"enum": [step.value for step in OUTCOMES]}, "ground": {"enum": [*GROUNDS, None]}}, ("outcome",)
        ),
        "description": "A refusal needs a `ground`; other outcomes have none.",
    },
}

_EXAMPLE_SET = {
    "id": _EXPORT_ID,
    "name": "works council",
    "columns": ["id", "started_at", "duration", "party_name"],
    "other_parties": False,
    "changed_at": "2026-02-01T10:00:00.000Z",
    "changed_by": "privacy-desk",
}
_EXAMPLE_REPORT: Mapping[str, Any] = {
    "id": _EXPORT_ID,
    "state": "done",
    "progress": None,
    "media": "opus",
    "silence_others": True,
    "other_parties": False,
    "encrypted": "passphrase",
    "calls": 37,
    "size_bytes": 18_204_411,
    "sha256": "5a1f" * 16,
    "not_separable": [_CALL_ID],
    "without_media": [{"call": _CALL_ID, "problem": "A stream of this call mixes several people."}],
    "created_at": "2026-02-01T10:10:00.000Z",
    "created_by": "privacy-desk",
    "expires_at": "2026-02-08T10:10:00.000Z",
    "problem": None,
    "fetched": [{"at": "2026-02-01T10:20:00.000Z", "by": "privacy-desk"}],
}
_EXAMPLE_CASE: Mapping[str, Any] = {
    "id": _CASE_ID,
    "state": "reported",
    "kind": ["access", "erasure"],
    "identities": ["+49 30 123456", "Ada Example"],
    "user": None,
    "reference": "letter 17",
    "reason": "Art. 15 and 17",
    "received_at": "2026-01-31T09:00:00.000Z",
    "due_at": "2026-02-28T09:00:00.000Z",
    "extension": None,
    "overdue": False,
    "created_at": "2026-02-01T10:00:00.000Z",
    "created_by": "privacy-desk",
    "changed_at": "2026-02-01T10:11:00.000Z",
    "selection": {"in": 37, "out": 2, "undecided": 0},
    "report": _EXAMPLE_REPORT,
    "erasure": None,
    "closed_at": None,
    "closed_by": None,
    "ground": None,
    "record": None,
}
_EXAMPLE_CANDIDATE: Mapping[str, Any] = {
    "call": _CALL_ID,
    "started_at": "2026-01-15T09:30:00.000Z",
    "ended_at": "2026-01-15T09:34:12.480Z",
    "duration_ms": 252_480,
    "state": "complete",
    "hold": False,
    "erase_after": "2026-07-14T09:34:12.480Z",
    "selected": None,
    "sure": True,
    "choose": False,
    "chosen": [],
    "parties": [
        {
            "index": 0,
            "role": "caller",
            "name": "Ada Example",
            "number": "+4930123456",
            "uri": "sip:+4930123456@example.com",
            "user_id": None,
            "known_as": None,
        }
    ],
    "others": 1,
    "separable": True,
    "matches": [
        {
            "party": 0,
            "role": "caller",
            "identity": "+49 30 123456",
            "kind": "number",
            "from": "letter",
            "until": None,
            "sure": True,
            "why": "It was the person's at that time.",
        }
    ],
}

EXAMPLES: Mapping[str, Any] = {
    "ColumnSet": _EXAMPLE_SET,
    "ColumnSetPage": {"items": [_EXAMPLE_SET], "next_cursor": None},
    "ColumnSetRequest": {"columns": ["id", "started_at", "duration", "party_name"]},
    "Request": _EXAMPLE_CASE,
    "RequestPage": {"items": [_EXAMPLE_CASE], "next_cursor": None},
    "RequestRequest": {
        "kind": ["access", "erasure"],
        "identities": ["+49 30 123456", "Ada Example"],
        "received_at": "2026-01-31T09:00:00Z",
        "reference": "letter 17",
    },
    "Candidate": _EXAMPLE_CANDIDATE,
    "CandidatePage": {"items": [_EXAMPLE_CANDIDATE], "next_cursor": None},
    "SelectionRequest": {"in": [], "out": []},
    "ExtensionRequest": {
        "months": 2,
        "ground": "number",
        "reason": "312 calls of five years have to be looked through.",
    },
    "Report": _EXAMPLE_REPORT,
    "ReportRequest": {"media": "opus", "silence_others": True, "passphrase": "correct horse battery"},
    "RequestErasureRequest": {"reason": "Art. 17 request 2026-23"},
    "CloseRequest": {"outcome": "done"},
}
