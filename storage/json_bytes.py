"""JSON without blanks, as the bytes that are stored, sealed, hashed or signed: one of three ways everywhere."""

import json
from collections.abc import Mapping
from typing import Any


def ascii_json(value: Any) -> bytes:
    """Write JSON in ASCII, members in the order given."""
    return json.dumps(value, separators=(",", ":")).encode()


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """Write JSON in ASCII with sorted members: what is signed, whatever order a reader keeps them in."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def utf8_json(value: Any) -> bytes:
    """Write JSON in UTF-8; halves of surrogate pairs, which may come from outside, are kept as three bytes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
