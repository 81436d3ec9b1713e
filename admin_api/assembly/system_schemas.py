"""Schema and example of what `GET /system` shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_SHARE: dict[str, Any] = {"type": "number", "minimum": 0}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_MAYBE_TIME: dict[str, Any] = {"type": ["string", "null"], "format": "date-time"}
_NONE: dict[str, Any] = {"type": "null"}


def _shown(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Describe an object; later versions may add members."""
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _list(of: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": dict(of)}


def _series(*values: Mapping[str, Any]) -> dict[str, Any]:
    """Describe points of a curve: a time and its values (few tools support `prefixItems`, which would fit better)."""
    return _list({"type": "array", "items": {"anyOf": [_TIME, *values]}, "minItems": 1 + len(values)})


_CUSTOMER = _shown(
    {"calls_active": _COUNT, "calls": _COUNT, "size_bytes": _COUNT, "history": _series(_COUNT)},
)
_NODE = _shown(
    {
        "ready": {"type": "boolean"},
        "reason": {"type": ["string", "null"]},
        "started_at": _TIME,
        "calls_active": _COUNT,
        "max_calls": _COUNT,
        "disks": _list(_shown({"use": {"enum": ["data", "runtime"]}, "free_bytes": _COUNT, "size_bytes": _COUNT})),
        "workers": _list(_shown({"number": _COUNT, "busy": _SHARE})),
        "unindexed_seconds": _SHARE,
        "certificates": _list(_shown({"use": {"enum": ["sip", "admin_api"]}, "expires_at": _MAYBE_TIME})),
        "keys_backed_up_at": _MAYBE_TIME,
        "history": _series(_COUNT, _COUNT, _SHARE),
    }
)

SCHEMAS: Mapping[str, Any] = {
    "System": _shown({"at": _TIME, "customer": {"anyOf": [_CUSTOMER, _NONE]}, "node": {"anyOf": [_NODE, _NONE]}}),
}
EXAMPLES: Mapping[str, Any] = {
    "System": {
        "at": "2026-01-15T09:30:00.000Z",
        "customer": {
            "calls_active": 12,
            "calls": 41_200,
            "size_bytes": 98_304_000_000,
            "history": [["2026-01-15T09:29:50.000Z", 11], ["2026-01-15T09:30:00.000Z", 12]],
        },
        "node": {
            "ready": True,
            "reason": None,
            "started_at": "2026-01-02T03:00:00.000Z",
            "calls_active": 40,
            "max_calls": 2000,
            "disks": [{"use": "data", "free_bytes": 800_000_000_000, "size_bytes": 1_000_000_000_000}],
            "workers": [{"number": 0, "busy": 0.12}],
            "unindexed_seconds": 0.4,
            "certificates": [{"use": "sip", "expires_at": "2026-09-01T00:00:00.000Z"}],
            "keys_backed_up_at": "2026-01-01T02:00:00.000Z",
            "history": [["2026-01-15T09:30:00.000Z", 40, 800_000_000_000, 0.12]],
        },
    },
}
