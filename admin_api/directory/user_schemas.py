"""Schemas and examples of directory users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from storage.directory.user import SEVERAL, SINGLE

MAX_FIELD = 512  # characters; the longest e-mail address has 254
MAX_SEVERAL = 50  # numbers, and addresses, of one person
KEYS = ("object_id", "upn", "email", "account_name")  # identities of a person, in order of precedence
ID = "9a1f7e0a-2f0b-4c57-9d4e-0b6a4b1f7c12"
_CALL_ID = "6f1c7e0a-2f0b-4c57-9d4e-0b6a4b1f7c11"
_ID: dict[str, Any] = {"type": "string", "format": "uuid"}
_TEXT: dict[str, Any] = {"type": "string"}
_MAYBE_TEXT: dict[str, Any] = {"type": ["string", "null"]}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_MAYBE_TIME: dict[str, Any] = {"type": ["string", "null"], "format": "date-time"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_SAID: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": MAX_FIELD, "pattern": r"\S"}


def _shown(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Describe an answer; later versions may add members."""
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _list(of: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": dict(of), **more}


_MEMBERS: dict[str, Any] = {
    **dict.fromkeys(SINGLE, _MAYBE_TEXT),
    **{name: _list(_TEXT) for name in SEVERAL},
}
_FORMER = _shown({"kind": _TEXT, "value": _TEXT, "since": _MAYBE_TIME, "until": _TIME})
_IDENTITY = _shown(
    {"kind": _TEXT, "value": _TEXT, "since": _MAYBE_TIME, "possibly_since": _MAYBE_TIME, "until": _MAYBE_TIME}
)
_USER = _shown(
    {
        "id": _ID,
        "state": {"enum": ["active", "inactive"]},
        "source": {"enum": ["entra", "csv", "api"]},
        **_MEMBERS,
        "former": _list(_FORMER),
        "identities": _list(_IDENTITY),
        "updated_at": _TIME,
        "unmapped_at": _MAYBE_TIME,
    }
)
_REQUEST: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{name: {**_SAID, "type": ["string", "null"]} for name in SINGLE},
        **{name: {**_list(_SAID, maxItems=MAX_SEVERAL), "type": ["array", "null"]} for name in SEVERAL},
    },
    "anyOf": [{"required": [name], "properties": {name: {"type": "string"}}} for name in KEYS],
    "additionalProperties": False,
}

SCHEMAS: Mapping[str, Any] = {
    "User": _USER,
    "UserPage": _shown({"items": _list({"$ref": "#/components/schemas/User"}), "next_cursor": _MAYBE_TEXT}),
    "UserExport": _shown(
        {
            "version": {"const": 1},
            "created_at": _TIME,
            "user": {"$ref": "#/components/schemas/User"},
            "calls": _list(_ID),
            "uncertain": _list(_ID),
            "calls_settled": {"type": "boolean"},
        }
    ),
    "UserRequest": _REQUEST,
    "UsersRequest": {
        "type": "object",
        "properties": {
            "users": _list({"$ref": "#/components/schemas/UserRequest"}),
            "accept": {"type": ["boolean", "null"]},
        },
        "required": ["users"],
        "additionalProperties": False,
    },
    "UserCounts": _shown({"added": _COUNT, "changed": _COUNT, "unmapped": _COUNT, "unchanged": _COUNT}),
}

_EXAMPLE_PERSON = {
    "first_name": "Ada",
    "last_name": "Example",
    "account_name": "ada",
    "email": "ada@example.com",
    "upn": "ada@example.com",
    "object_id": None,
    "numbers": ["+4930123456"],
    "addresses": [],
}
_EXAMPLE_USER = {
    "id": ID,
    "state": "active",
    "source": "api",
    **_EXAMPLE_PERSON,
    "former": [
        {
            "kind": "numbers",
            "value": "+4930999999",
            "since": "2025-11-03T08:00:00.000000Z",
            "until": "2026-01-15T09:30:00.000000Z",
        }
    ],
    "identities": [
        {
            "kind": "numbers",
            "value": "+4930123456",
            "since": "2026-01-15T09:30:00.000Z",
            "possibly_since": "2026-01-14T09:30:00.000Z",
            "until": None,
        }
    ],
    "updated_at": "2026-01-15T09:30:00.000Z",
    "unmapped_at": None,
}

EXAMPLES: Mapping[str, Any] = {
    "User": _EXAMPLE_USER,
    "UserPage": {"items": [_EXAMPLE_USER], "next_cursor": None},
    "UserExport": {
        "version": 1,
        "created_at": "2026-01-15T09:30:00.000Z",
        "user": _EXAMPLE_USER,
        "calls": [_CALL_ID],
        "uncertain": [],
        "calls_settled": True,
    },
    "UserRequest": _EXAMPLE_PERSON,
    "UsersRequest": {"users": [_EXAMPLE_PERSON], "accept": False},
    "UserCounts": {"added": 1, "changed": 0, "unmapped": 0, "unchanged": 41},
}
