"""Schemas and examples of holds, corrections, attachments, retention rules, erasures and waivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from storage.attachments.attachments import KINDS, MEDIA_TYPES
from storage.calls.call_row import Direction
from storage.keys.sealing import MAX_TEXT
from storage.retention.policy import MAX_DAYS, Wins
from storage.retention.rules import MAX_NAME, MAX_RULES

ID = "6f1c7e0a-2f0b-4c57-9d4e-0b6a4b1f7c11"
_RULE_ID = "2b0e4f7c-93d1-4a52-8a70-6f1f0c5d2e21"
_ID: dict[str, Any] = {"type": "string", "format": "uuid"}
_MAYBE_ID = {"type": ["string", "null"], "format": "uuid"}
_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_TIME = {"type": "string", "format": "date-time"}
_MAYBE_TIME = {"type": ["string", "null"], "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 0}
_DAYS = {"type": ["integer", "null"], "minimum": 0, "maximum": MAX_DAYS}


def _shown(properties: Mapping[str, Any], optional: Sequence[str] = ()) -> dict[str, Any]:
    """Describe an answer; later versions may add members."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required}


def _asked(properties: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
    """Describe a request; undeclared members are refused."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _said(most: int = MAX_TEXT) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": most, "pattern": r"\S"}


def _maybe_said(most: int = MAX_NAME) -> dict[str, Any]:
    return {"type": ["string", "null"], "minLength": 1, "maxLength": most, "pattern": r"\S"}


_DIRECTION = {"enum": [*(one.value for one in Direction), None]}
_WINS = {"enum": [one.value for one in Wins]}
_RULE = {
    "days": {**_DAYS, "description": "Days from the end of the call; null keeps it for ever."},
    "direction": _DIRECTION,
    "source": {**_maybe_said(), "description": "Address or network of the client, as calls show it in `source`."},
    "party": {**_maybe_said(), "description": "Somebody who took part, in any spelling."},
    "name": _maybe_said(),
}
_RULES = {
    "type": "array",
    "maxItems": MAX_RULES,
    "items": _asked({"id": _maybe_said(), **_RULE}, ("days",)),
}
_RETENTION = {"rules": _RULES, "default_days": _DAYS, "wins": _WINS}
_DUE = _shown({"id": _ID, "rule": _MAYBE_TEXT, "ended_at": _TIME, "erase_after": _TIME})
_RECEIPT = _shown(
    {
        "version": {"const": 1},
        "customer": _TEXT,
        "erasure": _ID,
        "cause": {"enum": ["request", "retention", "restored"]},
        "rule": _MAYBE_TEXT,
        "calls": {"type": "array", "items": _ID},
        "counts": _shown({"calls": _COUNT}),
        "requested_by": _TEXT,
        "requested_at": _TIME,
        "approved_by": _MAYBE_TEXT,
        "approved_at": _MAYBE_TIME,
        "done_at": _TIME,
        "public_key": _TEXT,
        "signature": _TEXT,
    }
)
_ERASURE = _shown(
    {
        "id": _ID,
        "state": {"enum": ["approval", "running", "waiting", "done"]},
        "cause": {"enum": ["request", "retention", "restored"]},
        "rule": _MAYBE_TEXT,
        "requested_at": _TIME,
        "requested_by": _TEXT,
        "approved_at": _MAYBE_TIME,
        "approved_by": _MAYBE_TEXT,
        "done_at": _MAYBE_TIME,
        "calls": {"type": ["integer", "null"], "minimum": 0, "description": "Null in a list of finished erasures."},
        "receipt": {"anyOf": [_RECEIPT, {"type": "null"}]},
        "own": {
            "type": "boolean",
            "description": "Only for a single erasure: true if the caller asked for it and so may not approve it.",
        },
    },
    optional=("own",),
)
_WAIVER = {
    "document_sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "signed_by": _said(200),
    "signed_at": _TIME,
    "scope": _said(),
    "expires_at": _MAYBE_TIME,
}

ANNOTATION = _shown({"id": _ID, "created_at": _TIME, "created_by": _TEXT, "text": _TEXT})
ATTACHMENT = _shown(
    {
        "id": _ID,
        "kind": {"enum": list(KINDS)},
        "media_type": {"enum": list(MEDIA_TYPES)},
        "title": _TEXT,
        "language": _MAYBE_TEXT,
        "size_bytes": _COUNT,
        "sha256": _TEXT,
        "created_at": _TIME,
        "created_by": _TEXT,
    }
)
HELD = {"held_since": _TIME, "held_by": _TEXT, "hold_reason": _TEXT}

QUERY = {
    **_asked(
        {
            "party": _said(512),
            "since": _TIME,
            "until": _TIME,
            "state": {"type": "string", "enum": ["recording", "complete", "interrupted"]},
            "hold": {"type": "boolean"},
            "direction": {"type": "string", "enum": [each.value for each in Direction]},
            "source": _said(253),
        },
        (),
    ),
    "minProperties": 1,
    "description": "Everything that GET /calls finds with these; for an erasure, last digits alone match nobody.",
}

SCHEMAS: Mapping[str, Any] = {
    "Hold": _shown({"id": _ID, "hold": {"const": True}, **HELD}),
    "HoldRequest": _asked({"reason": _said()}, ("reason",)),
    "Annotation": ANNOTATION,
    "AnnotationRequest": _asked({"text": _said()}, ("text",)),
    "Attachment": ATTACHMENT,
    "AttachmentRequest": {"description": "Any JSON document."},
    "Retention": _shown(
        {
            "default_days": _DAYS,
            "wins": _WINS,
            "rules": {"type": "array", "items": _shown({"id": _ID, **_RULE})},
            "changed_at": _MAYBE_TIME,
            "changed_by": _MAYBE_TEXT,
        }
    ),
    "RetentionRequest": _asked(_RETENTION, ("rules",)),
    "RetentionPreviewRequest": _asked(_RETENTION, ()),
    "RetentionPreview": _shown(
        {
            "at": _TIME,
            "calls": _COUNT,
            "brake": {"type": "boolean"},
            "items": {"type": "array", "items": _DUE},
            "asks": {"type": "array", "items": _DUE},
        }
    ),
    "Erasure": _ERASURE,
    "ErasurePage": _shown(
        {"items": {"type": "array", "items": {"$ref": "#/components/schemas/Erasure"}}, "next_cursor": _MAYBE_TEXT}
    ),
    "ErasureRequest": {
        **_asked(
            {
                "calls": {"type": "array", "items": _TEXT, "minItems": 1},
                "party": _said(512),
                "query": QUERY,
                "reason": _said(),
            },
            ("reason",),
        ),
        "description": "Exactly one of `calls`, `party` and `query`.",
        "oneOf": [{"required": ["calls"]}, {"required": ["party"]}, {"required": ["query"]}],
    },
    "Waiver": _shown(
        {
            "active": {"type": "boolean"},
            "id": _MAYBE_ID,
            **dict.fromkeys(("document_sha256", "signed_by", "scope"), _MAYBE_TEXT),
            **dict.fromkeys(("signed_at", "expires_at", "put_at"), _MAYBE_TIME),
            "put_by": _MAYBE_TEXT,
        }
    ),
    "WaiverRequest": _asked(_WAIVER, tuple(_WAIVER)),
}

_EXAMPLE_RULE = {
    "days": 3650,
    "direction": None,
    "source": "192.0.2.0/24",
    "party": None,
    "name": "Trading desk",
}
_EXAMPLE_DUE = {
    "id": ID,
    "rule": _RULE_ID,
    "ended_at": "2026-01-15T09:34:12.480Z",
    "erase_after": "2026-07-14T09:34:12.480Z",
}
_EXAMPLE_WAIVER = {
    "document_sha256": "5a1f" * 16,
    "signed_by": "Example Ltd, data protection",
    "signed_at": "2026-01-10T08:00:00.000Z",
    "scope": "Immediate erasure on request of the person recorded",
    "expires_at": "2027-01-10T08:00:00.000Z",
}
_EXAMPLE_ERASURE: Mapping[str, Any] = {
    "id": _RULE_ID,
    "state": "done",
    "cause": "request",
    "rule": None,
    "requested_at": "2026-02-01T10:00:00.000Z",
    "requested_by": "privacy-desk",
    "approved_at": None,
    "approved_by": None,
    "done_at": "2026-02-01T10:00:00.412Z",
    "calls": 1,
    "receipt": {
        "version": 1,
        "customer": "acme",
        "erasure": _RULE_ID,
        "cause": "request",
        "rule": None,
        "calls": [ID],
        "counts": {"calls": 1},
        "requested_by": "privacy-desk",
        "requested_at": "2026-02-01T10:00:00.000000Z",
        "approved_by": None,
        "approved_at": None,
        "done_at": "2026-02-01T10:00:00.412000Z",
        "public_key": "3d40" * 16,
        "signature": "92a0" * 32,
    },
}

EXAMPLES: Mapping[str, Any] = {
    "Hold": {
        "id": ID,
        "hold": True,
        "held_since": "2026-02-01T10:00:00.000Z",
        "held_by": "privacy-desk",
        "hold_reason": "Litigation 2026-4",
    },
    "HoldRequest": {"reason": "Litigation 2026-4"},
    "Annotation": {
        "id": _RULE_ID,
        "created_at": "2026-02-01T10:00:00.000Z",
        "created_by": "privacy-desk",
        "text": "The caller's name is spelt Adah.",
    },
    "AnnotationRequest": {"text": "The caller's name is spelt Adah."},
    "Attachment": {
        "id": _RULE_ID,
        "kind": "transcript",
        "media_type": "text/vtt",
        "title": "Transcript",
        "language": "en",
        "size_bytes": 4211,
        "sha256": "77c4" * 16,
        "created_at": "2026-02-01T10:00:00.000Z",
        "created_by": "transcriber",
    },
    "AttachmentRequest": [{"at": "2026-01-15T09:31:02Z", "from": "Ada", "text": "Hello"}],
    "Retention": {
        "default_days": 180,
        "wins": "longest",
        "rules": [{"id": _RULE_ID, **_EXAMPLE_RULE}],
        "changed_at": "2026-02-01T10:00:00.000Z",
        "changed_by": "records-office",
    },
    "RetentionRequest": {"rules": [_EXAMPLE_RULE], "default_days": 180, "wins": "longest"},
    "RetentionPreviewRequest": {"rules": [_EXAMPLE_RULE], "default_days": 90},
    "RetentionPreview": {
        "at": "2026-08-01T00:00:00.000Z",
        "calls": 41_200,
        "brake": False,
        "items": [_EXAMPLE_DUE],
        "asks": [],
    },
    "Erasure": _EXAMPLE_ERASURE,
    "ErasurePage": {
        "items": [{**_EXAMPLE_ERASURE, "state": "running", "done_at": None, "receipt": None}],
        "next_cursor": None,
    },
    "ErasureRequest": {"party": "+49 30 123456", "reason": "Art. 17 request 2026-23"},
    "Waiver": {
        "active": True,
        "id": _RULE_ID,
        **_EXAMPLE_WAIVER,
        "put_at": "2026-01-10T08:05:00.000Z",
        "put_by": "records-office",
    },
    "WaiverRequest": _EXAMPLE_WAIVER,
}
