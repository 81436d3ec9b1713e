"""Schemas and examples of the OpenAPI description. All examples are invented."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from admin_api.assembly import forgetting_schemas, request_schemas, system_schemas
from admin_api.directory import user_schemas
from admin_api.exports import columns, table_writers
from storage.access.actor import Kind
from storage.calls.call_document import Role, Sure
from storage.calls.call_row import CallState, Direction

DESCRIPTION = """\
Calls of one customer lie below `/api/v1/customers/{customer}`. Every request there needs `Authorization: Bearer TOKEN`
(`recorder token create`). With a valid token every path of another customer answers 404 exactly like a customer that
does not exist. Everything that is shown, done or refused is written to the audit log first. Times are RFC 3339 in UTC.
Lists are `{"items": [...], "next_cursor": null | "..."}`: pass `next_cursor` as `cursor` for the next page."""

CALL_ID = forgetting_schemas.ID

_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_COUNT = {"type": "integer", "minimum": 0}
_TIME = {"type": "string", "format": "date-time"}
_MAYBE_TIME = {"type": ["string", "null"], "format": "date-time"}


def _object(properties: Mapping[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """Describe an object; members may be added in later versions."""
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def _page(name: str) -> dict[str, Any]:
    items = {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}
    return _object({"items": items, "next_cursor": _MAYBE_TEXT}, ("items", "next_cursor"))


_INCOMPLETE = {
    "const": True,
    "description": "Only while the index is being rebuilt (the database was lost, or an older one was restored) or "
    "rejects a call: calls may be missing, and actions that select calls by a party answer 503. Absent: the list is "
    "complete.",
}
_CALLS = _page("Call")
_CALLS["properties"]["incomplete"] = _INCOMPLETE

_PARTY = _object(
    {
        "role": {"enum": [*get_args(Role)]},
        "name": _MAYBE_TEXT,
        "number": _MAYBE_TEXT,
        "uri": _MAYBE_TEXT,
        "also": {"type": "array", "items": _TEXT},
        "user_id": _MAYBE_TEXT,
        "user_candidates": {"type": "array", "items": _TEXT},
        "joined_at": _MAYBE_TIME,
        "left_at": _MAYBE_TIME,
    }
)
_OWNER = {"type": ["integer", "array", "null"], "items": {"type": "integer"}}
_SPEAKER = _object({"from": _MAYBE_TIME, "to": _MAYBE_TIME, "party": _OWNER, "inferred": {"type": "boolean"}}) | {
    "description": "Who is heard from which time (null: the first packet); empty if `party` holds throughout."
}
_STREAM = _object(
    {
        "label": _MAYBE_TEXT,
        "party": _OWNER,
        "inferred": {"type": "boolean"},
        "earlier": {"type": "array", "items": {"type": "integer"}},
        "speakers": {"type": "array", "items": _SPEAKER},
        "media": _TEXT,
        "codec": _MAYBE_TEXT,
        "decodable": {
            "type": ["boolean", "null"],
            "description": "False: exports have silence or no picture for it.",
        },
        "srtp": _MAYBE_TEXT,
        "packets": _COUNT,
        "lost": _COUNT,
        "duplicates": _COUNT,
        "rejected": _COUNT,
        "gap_ms": _COUNT,
        "gaps": {"type": "array", "items": {"type": "array"}},
        "pauses": {"type": "array", "items": {"type": "array"}},
        "jitter_ms": {"type": "number"},
        "mos": {"type": ["number", "null"]},
    }
)
_CALL = _object(
    {
        "id": {"type": "string", "format": "uuid"},
        "state": {"enum": [state.value for state in CallState]},
        "started_at": _MAYBE_TIME,
        "ended_at": _MAYBE_TIME,
        "duration_ms": _COUNT,
        "kept_from": _TIME,
        "source": _MAYBE_TEXT,
        "direction": {"enum": [*(direction.value for direction in Direction), None]},
        "session_id": _MAYBE_TEXT,
        "parties": {"type": "array", "items": {"$ref": "#/components/schemas/Party"}},
        "streams": {"type": "array", "items": {"$ref": "#/components/schemas/Stream"}},
        "size_bytes": _COUNT,
        "hold": {"type": "boolean"},
        "erase_after": _MAYBE_TIME,
        **forgetting_schemas.HELD,
        "annotations": {"type": "array", "items": {"$ref": "#/components/schemas/Annotation"}},
        "attachments": {"type": "array", "items": {"$ref": "#/components/schemas/Attachment"}},
        "recordings": {
            "type": "array",
            "items": _object({"id": _TEXT, "key": _TEXT, "sure": {"enum": [*get_args(Sure)]}}, ("id", "key", "sure")),
        },
    },
    ("id", "state", "started_at", "ended_at", "duration_ms", "size_bytes", "hold", "erase_after"),
)
_AUDIT = _object(
    {
        "n": {"type": "integer", "minimum": 1},
        "time": _TIME,
        "actor": _TEXT,
        "actor_kind": {"enum": [kind.value for kind in Kind]},
        "actor_id": _TEXT,
        "role": _TEXT,
        "action": _TEXT,
        "object": _TEXT,
        "outcome": {"enum": ["done", "refused", "failed"]},
        "reason": _TEXT,
        "source": _TEXT,
        "hash": _TEXT,
    },
    ("time", "actor", "role", "action", "object", "outcome", "reason"),
)
_INCIDENT = _object(
    {"kind": _TEXT, "first_at": _TIME, "last_at": _TIME, "count": {"type": "integer", "minimum": 1}}, ("kind",)
)
_PROBLEM = _object(
    {
        "type": {"type": "string", "format": "uri"},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "errors": {"type": "array", "items": _object({"in": _TEXT, "name": _TEXT, "reason": _TEXT})},
    },
    ("type", "title", "status", "detail"),
)

_WAVEFORM = _object(
    {
        "id": {"type": "string", "format": "uuid"},
        "started_at": _MAYBE_TIME,
        "duration_s": {"type": "number", "minimum": 0},
        "channels": {
            "type": "array",
            "items": _object(
                {
                    "label": _TEXT,
                    "peaks": {
                        "type": "array",
                        "items": {"type": "integer", "minimum": 0, "maximum": 1000},
                        "description": "Peaks of equal intervals of the call, in thousandths of full scale.",
                    },
                    "gaps": {
                        "type": "array",
                        "items": {"type": "array"},
                        "description": "[from, to, reason], seconds.",
                    },
                },
                ("label", "peaks", "gaps"),
            ),
        },
    },
    ("id", "started_at", "duration_s", "channels"),
)
_EXPORT = _object(
    {
        "id": {"type": "string", "format": "uuid"},
        "state": {"enum": ["running", "done", "failed", "cancelled"]},
        "format": {"enum": [*table_writers.TYPES, "report"]},
        "media": _MAYBE_TEXT,
        "columns": {"type": ["array", "null"], "items": _TEXT},
        "created_at": _TIME,
        "created_by": _TEXT,
        "expires_at": _TIME,
        "size_bytes": {"type": ["integer", "null"], "minimum": 0},
        "problem": _MAYBE_TEXT,
        "progress": {"type": ["object", "null"], "properties": {"done": _COUNT, "of": {"type": ["integer", "null"]}}},
        "party": _MAYBE_TEXT,
        "query": {"type": ["object", "null"]},
        "calls": {"type": ["integer", "null"], "minimum": 0},
        "reason": _MAYBE_TEXT,
    },
    ("id", "state"),
)
_ACCOUNT = _object(
    {
        "id": _TEXT,
        "name": _TEXT,
        "roles": {"type": "array", "items": _TEXT},
        "state": {"enum": ["active", "invited", "disabled"]},
        "second_factor": {"type": "boolean"},
        "created_at": _TIME,
        "signed_in_at": _MAYBE_TIME,
    },
    ("id", "name", "roles", "state", "second_factor", "created_at", "signed_in_at"),
)
_EXPORT_REQUEST: dict[str, Any] = {
    "type": "object",
    "description": "Exactly one of `calls`, `party` and `query`. Without columns, no other people are exported.",
    "properties": {
        "calls": {"type": "array", "items": _TEXT, "minItems": 1},
        "party": {"type": "string", "minLength": 1, "maxLength": 512, "pattern": r"\S"},
        "query": forgetting_schemas.QUERY,
        "format": {"enum": list(table_writers.TYPES), "default": "xlsx"},
        "columns": {
            "type": "array",
            "items": {"enum": list(columns.COLUMNS)},
            "minItems": 1,
            "maxItems": columns.MAX_COLUMNS,
            "uniqueItems": True,
        },
        "column_set": {"type": "string", "minLength": 1, "maxLength": 80},
        "media": {"enum": ["wav", "flac", "opus", "mp3", "pcap", "mkv", True, False, None]},
        "silence_others": {"type": "boolean"},
        "reason": {"type": "string", "minLength": 1, "maxLength": 4000, "pattern": r"\S"},
    },
    "required": ["reason"],
    "oneOf": [{"required": ["calls"]}, {"required": ["party"]}, {"required": ["query"]}],
    "additionalProperties": False,
}
SCHEMAS: Mapping[str, Any] = {
    **forgetting_schemas.SCHEMAS,
    **request_schemas.SCHEMAS,
    **system_schemas.SCHEMAS,
    **user_schemas.SCHEMAS,
    "Call": _CALL,
    "Party": _PARTY,
    "Stream": _STREAM,
    "CallPage": _CALLS,
    "Paused": _object({"id": _TEXT, "paused": {"type": "boolean"}}, ("id", "paused")),
    "Waveform": _WAVEFORM,
    "Export": _EXPORT,
    "ExportPage": _page("Export"),
    "ExportRequest": _EXPORT_REQUEST,
    "AuditEntry": _AUDIT,
    "AuditPage": _page("AuditEntry"),
    "Account": _ACCOUNT,
    "AccountPage": _page("Account"),
    "Incident": _INCIDENT,
    "IncidentPage": _page("Incident"),
    "Problem": _PROBLEM,
}

_EXAMPLE_EXPORT = {
    "id": CALL_ID,
    "state": "done",
    "format": "xlsx",
    "media": None,
    "columns": ["id", "started_at", "party_name"],
    "created_at": "2026-01-15T09:30:00.000Z",
    "created_by": "privacy-desk",
    "expires_at": "2026-01-22T09:30:00.000Z",
    "size_bytes": 18_231,
    "problem": None,
    "progress": None,
    "party": "+49 30 123456",
    "query": None,
    "calls": 37,
    "reason": "Art. 15 request 2026-17",
}

_EXAMPLE_CALL = {
    "id": CALL_ID,
    "state": "complete",
    "started_at": "2026-01-15T09:30:00.000Z",
    "ended_at": "2026-01-15T09:34:12.480Z",
    "duration_ms": 252480,
    "session_id": "hVpd7YQgRW2nD22h7q60JQ==",
    "parties": [
        {
            "role": "caller",
            "name": "Ada Example",
            "number": "+4930123456",
            "uri": "sip:+4930123456@example.com",
            "user_id": None,
            "user_candidates": [],
            "joined_at": "2026-01-15T09:30:00.000Z",
            "left_at": "2026-01-15T09:34:12.480Z",
        }
    ],
    "streams": [
        {
            "label": "1",
            "party": 0,
            "media": "audio",
            "codec": "PCMA",
            "decodable": True,
            "srtp": "AES_CM_128_HMAC_SHA1_80",
            "packets": 12620,
            "lost": 4,
            "duplicates": 0,
            "rejected": 0,
            "gap_ms": 80,
            "gaps": [["2026-01-15T09:31:00.000Z", "2026-01-15T09:31:00.080Z", "loss"]],
            "pauses": [],
            "jitter_ms": 0.8,
            "mos": 4.4,
        }
    ],
    "size_bytes": 4125184,
    "hold": False,
    "erase_after": "2026-07-14T09:34:12.480Z",
}

EXAMPLES: Mapping[str, Any] = {
    **forgetting_schemas.EXAMPLES,
    **request_schemas.EXAMPLES,
    **system_schemas.EXAMPLES,
    **user_schemas.EXAMPLES,
    "Waveform": {
        "id": CALL_ID,
        "started_at": "2026-01-15T09:30:00.120Z",
        "duration_s": 252.48,
        "channels": [{"label": "1", "peaks": [0, 310, 290], "gaps": [[12.0, 13.5, "hold"]]}],
    },
    "Export": _EXAMPLE_EXPORT,
    "ExportPage": {"items": [_EXAMPLE_EXPORT], "next_cursor": None},
    "ExportRequest": {"party": "+49 30 123456", "format": "xlsx", "media": "wav", "reason": "Art. 15 request 2026-17"},
    "Call": _EXAMPLE_CALL,
    "CallPage": {"items": [_EXAMPLE_CALL], "next_cursor": None},
    "Paused": {"id": CALL_ID, "paused": True},
    "AuditPage": {
        "items": [
            {
                "n": 17,
                "time": "2026-01-15T10:00:00.000000Z",
                "actor": "quality-desk",
                "actor_kind": "token",
                "actor_id": "5f0c2a9b1d3e4f60",
                "role": "listener",
                "action": "call.media",
                "object": CALL_ID,
                "outcome": "done",
                "reason": "",
                "source": "192.0.2.20",
                "hash": "9f2c" * 16,
            }
        ],
        "next_cursor": None,
    },
    "AccountPage": {
        "items": [
            {
                "id": "5f0c6d1e9a7b3c42",
                "name": "anna",
                "roles": ["admin", "privacy"],
                "state": "active",
                "second_factor": True,
                "created_at": "2026-01-02T08:00:00.000Z",
                "signed_in_at": "2026-01-15T09:12:44.301Z",
            }
        ],
        "next_cursor": None,
    },
    "IncidentPage": {
        "items": [
            {
                "kind": "call.interrupted",
                "first_at": "2026-01-15T09:31:00.000Z",
                "last_at": "2026-01-15T09:31:00.000Z",
                "count": 1,
                "call": CALL_ID,
            }
        ],
        "next_cursor": None,
    },
    "Problem": {
        "type": "urn:siprec-recorder:problem:not-found",
        "title": "Nothing was found here",
        "status": 404,
        "detail": "It does not exist, or this token may not see it.",
    },
}
