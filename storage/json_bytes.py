"""JSON without spaces, as bytes to store, seal, hash or sign; use one of these three forms."""

import json
from collections.abc import Mapping
from typing import Any


def ascii_json(value: Any) -> bytes:
    """Return JSON in ASCII, members in the order given."""
    return json.dumps(value, separators=(",", ":")).encode()


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """Return JSON in ASCII with sorted members, for signatures: readers may not keep the order of members."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def utf8_json(value: Any) -> bytes:
    """Return JSON in UTF-8; lone surrogates, which may come from outside, are kept as three bytes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
